"""Run an expand: every token ends, and goes on as one token for each element of its list."""

from __future__ import annotations

from typing import Final

from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import Outcome, Relation
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.expand import ExpandConfig
from elspeth_dagster.runtime.children import MadeToken, end_parent, make_token
from elspeth_dagster.runtime.recording import PAYLOAD_BYTES_MAX, final_state, payload, settle, too_large
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages

UNIT_RECORDS_MAX: Final = (
    2_000  # then the unit is handed on: long lists must not pile up a page's worth of children
)
EXPANDED_BYTES_MAX: Final = 64 * PAYLOAD_BYTES_MAX
"""What one row may become: each element carries the row's other fields along."""


def run_expand(work: Work, config: ExpandConfig) -> None:
    """Expand every waiting token, in order.

    Raises:
        NodeStoppedError: too many rows have no list, or the run is to end; what was expanded is recorded.
    """
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    failed = 0
    for page in pages(work.tokens(), PAGE_TOKENS):
        work.check_stop()
        attempts = work.attempts([token.token_id for token in page])
        unit = Unit()
        try:
            for token in page:
                failed += not _expand(work, unit, config, token, attempt=attempts.get(token.token_id, 0) + 1)
                work.judge(config.max_error_rate, failed, work.tally.rows_in)
                if len(unit) >= UNIT_RECORDS_MAX:
                    work.submit(unit)
                    unit = Unit()
        finally:
            work.submit(unit)
    work.flush()


def _expand(work: Work, unit: Unit, config: ExpandConfig, token: Token, *, attempt: int) -> bool:
    """One token's end and what came of it; whether it could be expanded."""
    began_s, started_at = work.clock.monotonic(), work.now()
    bodies = _bodies(config, row_of(token))
    now, duration_ms = work.now(), round((work.clock.monotonic() - began_s) * 1000, 3)
    if isinstance(bodies, Rejected):
        state_id = ids.state_id(token.token_id, work.node.node_id, attempt)
        settled = settle(work, unit, token=token, state_id=state_id, decision=bodies, now=now)
        state = final_state(
            work,
            token,
            state_id,
            attempt,
            settled,
            context_json=None,
            duration_ms=duration_ms,
            started_at=started_at,
            completed_at=now,
        )
        unit.insert("node_states", state)
        work.tally.rows_in += 1
        return False
    end_parent(
        work,
        unit,
        token,
        Outcome.EXPANDED,
        attempt=attempt,
        started_at=started_at,
        now=now,
        duration_ms=duration_ms,
    )
    for index, body in enumerate(bodies):
        made = MadeToken(
            token_id=ids.item_token_id(token.token_id, index),
            row_id=token.row_id,
            order_key=ids.item_order_key(token.order_key, index),
            branch=token.branch,
            salt_id=token.salt_id,
            row_hash=payload(unit, token.salt_id, token.salt, body),
        )
        make_token(
            work, unit, made, parents=[token.token_id], relation=Relation.EXPAND, started_at=now, now=now
        )
    return True


def _bodies(config: ExpandConfig, row: Row) -> list[bytes] | Rejected:
    items = config.items(row)
    if isinstance(items, Rejected):
        return items
    bodies: list[bytes] = []
    left = EXPANDED_BYTES_MAX
    for item in items:
        body = canonical_bytes(item)
        left -= len(body)
        if len(body) > PAYLOAD_BYTES_MAX:
            return too_large(len(body), what="expanded row")
        if left < 0:
            what = (
                f"Its {len(items):,} elements, each with the row's other fields, take more than "
                f"{EXPANDED_BYTES_MAX:,} bytes: drop what they need not carry."
            )
            return Rejected(
                "payload_too_large", what, facts={"items": len(items), "max_bytes": EXPANDED_BYTES_MAX}
            )
        bodies.append(body)
    return bodies
