"""Run a step that decides by itself: page in, decide row by row, unit out."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import parsed
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.base import Decider, Decision, PageDecider
from elspeth_dagster.runtime.recording import final_state, settle
from elspeth_dagster.runtime.work import Work, pages


def run_step(work: Work, decider: Decider | PageDecider, *, max_error_rate: float) -> None:
    """Decide about every waiting token, in order.

    Raises:
        NodeStoppedError: too many rows failed, or the run is to end; what was decided is recorded.
    """
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    for page in pages(work.tokens(), PAGE_TOKENS):
        work.check_stop()
        attempts = work.attempts([token.token_id for token in page])
        unit = Unit()
        try:
            now = work.now()
            for token, timed in zip(page, _decided(work.clock, decider, page), strict=True):
                attempt = attempts.get(token.token_id, 0) + 1
                now = _record(work, unit, token, attempt=attempt, timed=timed, started_at=now)
                work.check_stop()  # a function may take its time, or call somebody
                work.judge_errors(max_error_rate)
        finally:
            work.submit(unit)
    work.flush()


def _decided(
    clock: Clock, decider: Decider | PageDecider, page: list[Token]
) -> Iterator[tuple[Decision, float]]:
    """Each row's decision and the milliseconds it took; a page decided at once shares its time evenly."""
    if isinstance(decider, PageDecider):
        began_s = clock.monotonic()
        decisions = decider.decide_page([row_of(token) for token in page])
        share_ms = (clock.monotonic() - began_s) * 1000 / len(page)
        yield from ((decision, share_ms) for decision in decisions)
        return
    for token in page:
        began_s = clock.monotonic()
        decision = decider.decide(row_of(token))
        yield decision, (clock.monotonic() - began_s) * 1000


def _record(
    work: Work, unit: Unit, token: Token, *, attempt: int, timed: tuple[Decision, float], started_at: str
) -> str:
    """One row's records; returns when it was done, which is when the next one starts."""
    decision, duration_ms = timed
    state_id = ids.state_id(token.token_id, work.node.node_id, attempt)
    completed_at = work.now()
    work.tally.rows_in += 1
    settled = settle(work, unit, token=token, state_id=state_id, decision=decision, now=completed_at)
    unit.insert(
        "node_states",
        final_state(
            work,
            token,
            state_id,
            attempt,
            settled,
            context_json=None,
            duration_ms=round(duration_ms, 3),
            started_at=started_at,
            completed_at=completed_at,
        ),
    )
    return completed_at


def row_of(token: Token) -> Row:
    """The row that a token carries."""
    row = parsed(token.body)
    assert isinstance(row, dict)  # noqa: S101 - only rows are stored as a token's body
    return row
