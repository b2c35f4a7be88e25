"""Order can be proved: calls are numbered without gap, and so are the rows that a pool took and gave back."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import nan
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.invariants.scope import calls_of
from elspeth_dagster.landscape.schema import calls, node_executions, node_states


def call_indices(examined: Examined) -> Iterator[Finding]:
    """The calls of each state are numbered 0 to n-1."""
    count, last = sa.func.count(), sa.func.max(calls.c.call_index)
    question = (
        sa.select(calls.c.state_id, count, last)
        .where(calls_of(examined.run.run_id))
        .group_by(calls.c.state_id)
        .having(sa.or_(last != count - 1, sa.func.min(calls.c.call_index) != 0))
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for state_id, found, highest in connection.execute(question):
            what = f"{found} calls are numbered up to {highest}: one is missing."
            yield Finding("call_indices", "calls", state_id, what)


@dataclass(slots=True)
class _Seen:
    """Which numbers of 0, 1, 2... were seen: one bit for each, so that millions of rows take little memory."""

    bits: bytearray = field(default_factory=bytearray)
    count: int = 0

    def add(self, number: int) -> bool:
        """Note a number; whether it is new."""
        byte, bit = divmod(number, 8)
        if byte >= len(self.bits):
            self.bits.extend(bytes(max(byte + 1 - len(self.bits), len(self.bits))))
        if self.bits[byte] >> bit & 1:
            return False
        self.bits[byte] |= 1 << bit
        self.count += 1
        return True

    def first_gap(self) -> int | None:
        """The smallest number below ``count`` that was not seen; None: there is none."""
        return next(
            (number for number in range(self.count) if not self.bits[number // 8] >> number % 8 & 1), None
        )


def pool_indices(examined: Examined) -> Iterator[Finding]:
    """The rows of a completed execution have submit and complete indices 0 to n-1 in its pool, each once."""
    with examined.database.read() as connection:
        executions = connection.execute(
            sa.select(node_executions.c.execution_id, node_executions.c.node_id).where(
                node_executions.c.run_id == examined.run.run_id,
                node_executions.c.pool_stats_json.is_not(None),
                node_executions.c.status == "completed",
            )
        ).all()
    for execution_id, node_id in executions:
        yield from _execution(examined, execution_id, node_id)


def _execution(examined: Examined, execution_id: str, node_id: str) -> Iterator[Finding]:
    states = node_states
    question = (
        sa.select(states.c.state_id, states.c.context_after_json)
        .where(
            states.c.run_id == examined.run.run_id,
            states.c.node_id == node_id,
            states.c.execution_id == execution_id,
            states.c.context_after_json.is_not(None),
        )
        .execution_options(yield_per=PAGE)
    )
    seen = {"submit_index": _Seen(), "complete_index": _Seen()}
    ended = array("d")
    with examined.database.read() as connection:
        for state_id, context_json in connection.execute(question):
            context = json.loads(context_json)
            if "batch" in context and "pool" not in context:
                continue  # a member, or an output, of a batch: it was not asked about by itself
            pool = context.get("pool", {})
            for name, numbers in seen.items():
                if not _is_index(pool.get(name)) or not numbers.add(pool[name]):
                    what = (
                        f"Its {name} {pool.get(name)!r} is missing, or another row of the execution has it."
                    )
                    yield Finding("pool_indices", "node_states", state_id, what)
            if _is_index(pool.get("complete_index")):
                _put(ended, pool["complete_index"], float(pool["complete_offset_ms"]))
    for name, numbers in seen.items():
        gap = numbers.first_gap()
        if gap is not None:
            what = f"No row has the {name} {gap}: a row is missing."
            yield Finding("pool_indices", "node_executions", execution_id, what)
    for index in _out_of_time(ended):
        what = f"The row with complete index {index} ended before the one with {index - 1}."
        yield Finding("pool_times", "node_states", execution_id, what)


def _put(ended: array[float], index: int, offset_ms: float) -> None:
    """Note when a row ended: eight bytes a row."""
    if index >= len(ended):
        ended.extend([nan] * (max(index + 1, 2 * len(ended)) - len(ended)))
    ended[index] = offset_ms


def _out_of_time(ended: array[float]) -> Iterator[int]:
    latest = float("-inf")
    for index, offset_ms in enumerate(ended):
        if offset_ms < latest - TIME_TOLERANCE_MS:
            yield index
        latest = max(latest, offset_ms)


def pool_limits(examined: Examined) -> Iterator[Finding]:
    """No pool had more calls in flight than its size."""
    table = node_executions
    question = sa.select(table.c.execution_id, table.c.pool_stats_json).where(
        table.c.run_id == examined.run.run_id, table.c.pool_stats_json.is_not(None)
    )
    with examined.database.read() as connection:
        for execution_id, stats_json in connection.execute(question):
            stats = json.loads(stats_json)
            size, reached = stats["pool_config"]["pool_size"], stats["pool_stats"]["max_concurrent_reached"]
            if reached > size:
                what = f"{reached} calls were in flight at once; its pool_size is {size}."
                yield Finding("pool_limits", "node_executions", execution_id, what)


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INDEX_MAX


INDEX_MAX: Final = 2**31  # beyond any batch
TIME_TOLERANCE_MS: Final = 5.0
"""A call's end is timed where it ends, its index is given a moment later: others may come in between."""
