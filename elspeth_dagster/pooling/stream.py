"""The caller's side of a batch: feeds rows in, takes results out in order, and stops everything when it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling.batch import Batch, Entry
from elspeth_dagster.pooling.dispatcher import Dispatcher
from elspeth_dagster.pooling.engine import SLICE_S
from elspeth_dagster.pooling.reorder import BufferEntry
from elspeth_dagster.pooling.rows import RowContext
from elspeth_dagster.pooling.stats import BatchCounters, PoolStats

T = TypeVar("T")
E = TypeVar("E")


class BatchHost(Protocol):
    """What runs batches: an executor, with its threads; in tests a loop in virtual time."""

    @property
    def clock(self) -> Clock:
        """The clock of all timestamps."""
        ...

    @property
    def window_rows(self) -> int:
        """Rows unreleased at most, unless told."""
        ...

    def admit(self, batch: Batch) -> Dispatcher:
        """Make ready for ``batch``; raises ``NodeStoppedError`` if nothing may run any more."""
        ...

    def stats_of(self, counters: BatchCounters) -> PoolStats:
        """The public form of a batch's numbers."""
        ...


class RowStream(Generic[T]):
    """Results of one batch in the order of submission; an iterator, and a context manager.

    Leaving it (``close``, the end of a ``with``, dropping it) stops dispatching at once; it does not wait for the
    calls in flight, which the pool lets end on their own. If the process function raises, the results of all rows
    that had ended come first, then the exception.
    """

    def __init__(self, entries: Generator[Entry, None, None], *, stats: Callable[[], PoolStats]) -> None:
        self._entries = cast("Generator[BufferEntry[RowResult[T]], None, None]", entries)
        self._stats = stats

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BufferEntry[RowResult[T]]:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop: no call starts any more."""
        self._entries.close()

    def get_stats(self) -> PoolStats:
        """The numbers of this batch, at any time."""
        return self._stats()


class Feed:
    """Pulls rows from ``contexts``, in the thread that iterates, with at most ``window`` of them unreleased."""

    def __init__(
        self,
        batch: Batch,
        contexts: Iterable[RowContext[object]],
        *,
        window: int,
        wake: Callable[[Batch], None],
    ) -> None:
        self._batch = batch
        self._wake = wake
        self._contexts = iter(contexts)
        self._window = window
        self._unreleased = 0

    def pull(self) -> bool:
        """Submit the next row, if there is one and room for it; whether it did."""
        batch = self._batch
        if batch.input_closed or batch.stopping or self._unreleased >= self._window:
            return False
        context = next(self._contexts, None)
        if context is None:
            batch.input_closed = True
        else:
            self._unreleased += 1
            batch.submit(context)
        self._wake(batch)
        return context is not None

    def take(self) -> Entry | None:
        """The next result, None where there is none now; its row leaves the window."""
        if not self._batch.outbox:
            return None
        self._unreleased -= 1
        return self._batch.outbox.popleft()


def entries_in_order(
    host: BatchHost,
    batch: Batch,
    contexts: Iterable[RowContext[object]],
    *,
    window: int,
    arrived: threading.Event,
) -> Generator[Entry, None, None]:
    """Drive a batch whose rows make one call each, from the first ``next`` on."""
    dispatcher = host.admit(batch)
    feed = Feed(batch, contexts, window=window, wake=dispatcher.wake)
    yield from in_order(batch, dispatcher, pull=feed.pull, take=feed.take, arrived=arrived)


def in_order(
    batch: Batch,
    dispatcher: Dispatcher,
    *,
    pull: Callable[[], bool],
    take: Callable[[], E | None],
    arrived: threading.Event,
) -> Generator[E, None, None]:
    """Drive one batch. ``arrived`` is set whenever there is more to ``take``, or the batch settled.

    One row in for one row out, and more in only while nothing is ready: a slow source holds ready results up by
    one row, and as soon as the pool is what limits, the window fills.
    """
    try:
        while True:
            arrived.clear()
            pulled = pull()
            settled = batch.settled  # read before taking: what it releases is there by now
            entry = take()
            if entry is not None:
                yield entry
            elif settled:
                break
            elif not pulled:
                arrived.wait(SLICE_S)
                if dispatcher.has_ended and not batch.settled:
                    raise batch.error or stopped_error()
        if batch.error is not None:
            raise batch.error
    finally:
        if not batch.settled:
            batch.stopping = True
            dispatcher.wake(batch)


def stopped_error() -> NodeStoppedError:
    """The pool was stopped from outside."""
    return NodeStoppedError(
        "The pool was stopped before all rows were done.",
        code="pool_stopped",
        hint="the rows that were not sent are untouched: resume the run",
    )
