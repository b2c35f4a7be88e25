"""Tokens that a node makes of others: their records, and how their parents end.

A made token has a completed state at the node that made it, without an input: the next node finds it as any other. All
of it, with the ends of its parents, belongs into one unit: a crash leaves either nothing or everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.outcome import OUT_PORT, Outcome, Relation, StateStatus
from elspeth_dagster.model.token import Token
from elspeth_dagster.runtime.recording import Settled, final_state, outcome_record
from elspeth_dagster.runtime.work import Work


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A token as it leaves the node that made it. ``row_hash`` is of a body that is stored under ``salt_id``.

    ``row_id`` is None for what was made of many rows; ``branch`` is the innermost branch that it is on.
    """

    token_id: str
    row_id: str | None
    order_key: bytes
    branch: str | None
    salt_id: str
    row_hash: bytes
    port: str = OUT_PORT


def make_token(
    work: Work,
    unit: Unit,
    made: MadeToken,
    *,
    parents: Sequence[str],
    relation: Relation,
    started_at: str,
    now: str,
    duration_ms: float = 0.0,
    context_json: str | None = None,
) -> None:
    """Record the token, its parents in order, and its own state; the tally counts it as a row that goes out."""
    handle = work.handle
    unit.insert(
        "tokens",
        sealed(
            "tokens", made.token_id, handle.run_id, made.row_id, made.order_key, made.branch, handle.node_id,
            made.salt_id, handle.execution_id,
        ),
    )  # fmt: skip
    for ordinal, parent in enumerate(parents):
        unit.insert(
            "token_parents",
            sealed("token_parents", made.token_id, parent, ordinal, relation.value, handle.execution_id),
        )
    unit.insert(
        "node_states",
        sealed(
            "node_states", ids.state_id(made.token_id, handle.node_id, 1), made.token_id, handle.run_id,
            handle.node_id, made.port, made.order_key, 1, StateStatus.COMPLETED.value, None, made.row_hash, None,
            context_json, duration_ms, None, started_at, now, handle.execution_id,
        ),
    )  # fmt: skip
    work.tally.rows_out += 1
    work.tally.by_port[made.port] += 1


def end_parent(
    work: Work,
    unit: Unit,
    token: Token,
    outcome: Outcome,
    *,
    attempt: int,
    started_at: str,
    now: str,
    duration_ms: float = 0.0,
    context_json: str | None = None,
) -> None:
    """End a token whose row goes on in others: a completed state without a port, and its outcome."""
    unit.insert(
        "node_states",
        final_state(
            work,
            token,
            ids.state_id(token.token_id, work.node.node_id, attempt),
            attempt,
            Settled(StateStatus.COMPLETED, None, None, None),
            context_json=context_json,
            duration_ms=duration_ms,
            started_at=started_at,
            completed_at=now,
        ),
    )
    unit.insert("token_outcomes", outcome_record(work, token, outcome, sink=None, code=None, now=now))
    work.tally.rows_in += 1
    work.handle.rows_done += 1
