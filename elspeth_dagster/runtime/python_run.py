"""Run a python step in a pool: its function runs in threads, rows leave in the order they came.

Nothing is recorded before a row is released: a function that is broken off is called again by the next execution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.base import Emitted
from elspeth_dagster.nodes.python import Caller, PythonConfig
from elspeth_dagster.pooling import PoolConfig, PooledExecutor, PooledTransform, RowContext, RowEntries
from elspeth_dagster.runtime.pool_place import place_in_pool, span_s
from elspeth_dagster.runtime.recording import final_state, settle
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages


@dataclass(frozen=True, slots=True)
class _Visit:
    """A token at this node."""

    token: Token
    attempt: int
    state_id: str
    began_at: str


Entries = RowEntries[str, _Visit, Emitted]


def run_python_pool(work: Work, config: PythonConfig, pool_config: PoolConfig) -> None:
    """Decide about every waiting token; the pool's stats end up in ``work.pool_stats``, whatever happens.

    Raises:
        NodeStoppedError: too many rows failed, or the run is to end; what was released is recorded.
    """
    caller, active = config.compile_pooled(work.pipeline.home)
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    with active, PooledExecutor(pool_config, clock=work.clock) as pool, work.stop.telling(pool.stop):
        began_s = work.clock.monotonic()
        transform: PooledTransform[str, _Visit, Row, Emitted] = PooledTransform(
            pool, _one_call, _Call(caller)
        )
        try:
            for entries in transform.run(_visits(work)):
                _release(work, entries, began_s=began_s)
                work.judge_errors(config.max_error_rate)
            work.flush()
        except NodeStoppedError:
            work.check_stop()  # a pool that was stopped does not know why
            raise
        finally:
            pool.close()  # what is in flight ends: a function cannot be broken off
            work.pool_stats = cast("Mapping[str, JSON]", pool.get_stats())


@dataclass(frozen=True, slots=True)
class _Call:
    """What a thread of the pool does for one row."""

    caller: Caller

    def __call__(self, row: Row, _state_id: str) -> RowResult[Emitted]:
        decision = self.caller.decide(row)
        return decision if isinstance(decision, Rejected) else Succeeded(decision)


def _visits(work: Work) -> Iterator[tuple[str, _Visit]]:
    """Every waiting token in order; pulled by the pool as it has room."""
    for page in pages(work.tokens(), PAGE_TOKENS):
        attempts = work.attempts([token.token_id for token in page])
        for token in page:
            attempt = attempts.get(token.token_id, 0) + 1
            state_id = ids.state_id(token.token_id, work.node.node_id, attempt)
            yield token.token_id, _Visit(token, attempt, state_id, work.now())


def _one_call(_token_id: str, visit: _Visit) -> Sequence[RowContext[Row]]:
    return [RowContext(row_of(visit.token), visit.state_id, 0)]


def _release(work: Work, entries: Entries, *, began_s: float) -> None:
    """Record what was decided about one row."""
    visit, now, unit = entries.ctx, work.now(), Unit()
    assert entries.row is not None  # noqa: S101 - each row makes one call
    (result,) = entries.results
    decision = result.value if isinstance(result, Succeeded) else result
    settled = settle(work, unit, token=visit.token, state_id=visit.state_id, decision=decision, now=now)
    start_s, end_s = span_s(entries.row)
    unit.insert(
        "node_states",
        final_state(
            work,
            visit.token,
            visit.state_id,
            visit.attempt,
            settled,
            context_json=canonical_bytes({"pool": place_in_pool(entries.row, began_s=began_s)}).decode(),
            duration_ms=round(max(0.0, end_s - start_s) * 1000, 3),
            started_at=visit.began_at,
            completed_at=now,
        ),
    )
    work.tally.rows_in += 1
    work.tally.buffer_wait_ms.add(entries.row.buffer_wait_ms)
    work.submit(unit)
