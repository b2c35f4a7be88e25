"""The caller's side of a batch: feeds rows in, takes results out in order, and stops everything when it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling.batch import Batch, Entry
from elspeth_dagster.pooling.dispatcher import Dispatcher
from elspeth_dagster.pooling.engine import SLICE_S
from elspeth_dagster.pooling.reorder import BufferEntry
from elspeth_dagster.pooling.rows import RowContext
from elspeth_dagster.pooling.stats import PoolStats

T = TypeVar("T")


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

    def __init__(self, batch: Batch, contexts: Iterable[RowContext[object]], *, window: int) -> None:
        self._batch = batch
        self._contexts = iter(contexts)
        self._window = window
        self._unreleased = 0

    def pull(self, wake: Callable[[Batch], None]) -> bool:
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
        wake(batch)
        return context is not None

    def released(self) -> None:
        """One row left the window."""
        self._unreleased -= 1


def entries_in_order(
    make: Callable[[], tuple[Batch, Dispatcher]],
    contexts: Iterable[RowContext[object]],
    *,
    window: int,
    arrived: threading.Event,
) -> Generator[Entry, None, None]:
    """Drive one batch. ``arrived`` is set whenever its outbox grew or it settled.

    One row in for one row out, and more in only while nothing is ready: a slow source holds ready results up by
    one row, and as soon as the pool is what limits, the window fills.
    """
    batch, dispatcher = make()
    feed = Feed(batch, contexts, window=window)
    try:
        while True:
            arrived.clear()
            pulled = feed.pull(dispatcher.wake)
            settled = batch.settled  # read before the outbox: what it releases is in there by now
            if batch.outbox:
                entry = batch.outbox.popleft()
                feed.released()
                yield entry
            elif settled:
                break
            elif not pulled:
                arrived.wait(SLICE_S)
        if batch.error is not None:
            raise batch.error
    finally:
        if not batch.settled:
            batch.stopping = True
            dispatcher.wake(batch)
