"""Where finished rows go: the port that a transform gives them to; a queue for one consumer, an adapter for many.

A port is told on the pool's loop, so it must not wait there; these two let the consumers' threads do the waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar, runtime_checkable

from elspeth_dagster.pooling.adapter import HasTokenId, SharedBatchAdapter
from elspeth_dagster.pooling.engine import SLICE_S

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class OutputPort(Protocol[E_contra]):
    """Takes finished rows in their order. Called on the pool's loop, one call at a time; must return at once."""

    def emit(self, entries: E_contra) -> None:
        """Take one finished row. It counts as released when this returns."""
        ...

    def fail(self, error: BaseException) -> None:
        """The transform stopped because of ``error``; nothing is emitted after it."""
        ...


@runtime_checkable
class HoldingPort(Protocol):
    """What a port offers besides, if it keeps rows until somebody takes them: they stay unreleased until then."""

    def attach(self, taken: Callable[[], None]) -> None:
        """Call ``taken`` whenever a row left the port."""
        ...

    def end(self) -> None:
        """The transform was closed: nothing is emitted after it."""
        ...


class QueuePort(Generic[E]):
    """Keeps finished rows for a consumer, who iterates: it waits for rows and ends when the transform does.

    If the transform failed, its error is raised after the last row. Waiting is in slices, so an exception that is
    raised in the consumer's thread comes through at once. ``arrived`` is set when there may be something new.
    """

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._rows: deque[E] = deque()
        self._taken: Callable[[], None] = _nobody
        self._error: BaseException | None = None
        self._is_over = False

    # The transform's side

    def attach(self, taken: Callable[[], None]) -> None:
        """Call ``taken`` whenever a row left the queue."""
        self._taken = taken

    def emit(self, entries: E) -> None:
        """Put one row at the end of the queue."""
        self._rows.append(entries)
        self.arrived.set()

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in the consumer once the queue is empty."""
        self._error = error
        self.end()

    def end(self) -> None:
        """End the consumer's iteration once the queue is empty."""
        self._is_over = True
        self.arrived.set()

    # The consumer's side

    def __iter__(self) -> Iterator[E]:
        while True:
            self.arrived.clear()
            is_over = self._is_over  # read before the queue: what came before the end is in there by now
            entries = self.take()
            if entries is not None:
                yield entries
            elif is_over:
                break
            else:
                self.arrived.wait(SLICE_S)
        if self._error is not None:
            raise self._error

    def ready(self) -> Iterator[E]:
        """The rows that are there now, without waiting; the transform's error, if it failed, after the last."""
        is_over = self._is_over
        while (entries := self.take()) is not None:
            yield entries
        if is_over and self._error is not None:
            raise self._error

    def take(self) -> E | None:
        """The next row, None where there is none now."""
        try:
            entries = self._rows.popleft()
        except IndexError:
            return None
        self._taken()
        return entries


class AdapterPort(Generic[E]):
    """The port of a transform whose rows are waited for one by one, each by a thread of its own.

    ``address`` gives the token and the state id of finished rows. When the transform ends, so do all waiters.
    """

    def __init__(
        self,
        adapter: SharedBatchAdapter[E],
        address: Callable[[E], tuple[str | HasTokenId, str | None]],
    ) -> None:
        self._adapter = adapter
        self._address = address
        self._taken: Callable[[], None] = _nobody

    def attach(self, taken: Callable[[], None]) -> None:
        """Call ``taken`` after each row: nothing stays here."""
        self._taken = taken

    def emit(self, entries: E) -> None:
        """Give one row to its waiter."""
        token, state_id = self._address(entries)
        self._adapter.emit(token, entries, state_id)
        self._taken()

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in all waiters."""
        self._adapter.clear(error)

    def end(self) -> None:
        """End all waiters: their rows were given up."""
        self._adapter.clear()


def _nobody() -> None:
    """Nobody counts what is taken."""
