"""Transforms in virtual time: what runs their batches, and a port that keeps everything."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from elspeth_dagster.model.clock import Clock
from elspeth_dagster.pooling import PoolStats, RowContext, RowEntries
from elspeth_dagster.pooling.batch import Batch
from elspeth_dagster.pooling.dispatcher import Dispatcher
from elspeth_dagster.pooling.stats import BatchCounters, public_stats
from tests.pooling.virtual_time import VirtualClock, VirtualPool

E = TypeVar("E")

Rows = RowEntries[str, int, str]
"""What the tests' transforms give: tokens are names, the context is the number of calls, calls are named after both."""


class VirtualHost:
    """Runs batches on the running loop."""

    def __init__(self, pool: VirtualPool) -> None:
        self._pool = pool
        self._clock = VirtualClock(asyncio.get_running_loop())

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def window_rows(self) -> int:
        return 1000

    def admit(self, batch: Batch) -> Dispatcher:
        return self._pool.dispatcher

    def stats_of(self, counters: BatchCounters) -> PoolStats:
        return public_stats(self._pool.config, counters, delay_ms=self._pool.controller.delay_ms)


class KeepingPort(Generic[E]):
    """Takes everything at once, and notes how it ended."""

    def __init__(self) -> None:
        self.rows: list[E] = []
        self.error: BaseException | None = None

    def emit(self, entries: E) -> None:
        assert self.error is None, "emitted after the end"
        self.rows.append(entries)

    def fail(self, error: BaseException) -> None:
        assert self.error is None, "failed twice"
        self.error = error


def named_calls(token: str, calls: int) -> list[RowContext[str]]:
    """A row's calls: ``b/0``, ``b/1``, ..."""
    return [RowContext(f"{token}/{number}", f"state-{token}", number) for number in range(calls)]
