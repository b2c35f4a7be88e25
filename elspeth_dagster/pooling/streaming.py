"""Transforms that work on many rows at once: rows in one by one, each with any number of calls; rows out in order.

Built on the pool's batches, so calls of all rows pass one gate, are retried alike and share one limit. Leaves what a
call is to ``process_fn``, and what becomes of a finished row to the port.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Generic, NoReturn, Protocol, Self, TypeVar, cast

from elspeth_dagster.pooling.gathering import RowEntries
from elspeth_dagster.pooling.line import Line, closed_error
from elspeth_dagster.pooling.ports import OutputPort, QueuePort
from elspeth_dagster.pooling.rows import ProcessFn, RowContext
from elspeth_dagster.pooling.stats import PoolStats
from elspeth_dagster.pooling.stream import BatchHost, in_order

K = TypeVar("K")
C = TypeVar("C")
R = TypeVar("R")
T = TypeVar("T")

FLUSH_S = 300.0
"""How long a flush waits unless told: longer than any provider lets a request hang."""


class BatchMetrics(PoolStats):
    """The numbers of one transform, besides its pool's; plain JSON.

    accepted = emitted + given up + pending. A row is given up only when the transform stops.
    """

    rows_accepted: int
    rows_emitted: int
    rows_given_up: int
    rows_pending: int
    calls_in_flight: int


class StreamingTransform(Protocol[K, C, T]):
    """Takes rows one by one, works on many of them at once, and gives them to its port in the order it took them."""

    def connect_output(self, port: OutputPort[RowEntries[K, C, T]], max_pending: int) -> None:
        """Say where finished rows go, once, before the first row."""
        ...

    def accept(self, token: K, ctx: C) -> None:
        """Take one row; returns at once, and blocks only while ``max_pending`` rows are unreleased."""
        ...

    def flush(self, timeout: float = FLUSH_S) -> None:
        """Wait until everything accepted so far has been emitted."""
        ...

    def close(self) -> None:
        """Start nothing any more, and emit everything that completes."""
        ...

    def get_batch_metrics(self) -> BatchMetrics:
        """The numbers now."""
        ...

    def process(self, row: object, ctx: object) -> NoReturn:
        """Always raises NotImplementedError: rows come in by ``accept`` only."""
        ...


class PooledTransform(Generic[K, C, R, T]):
    """A :class:`StreamingTransform` over a pool.

    ``split(token, ctx)`` gives a row's calls, in the caller's thread; a row with none is emitted in its place without
    passing the gate. ``process_fn`` makes one call, as everywhere in the pool. A row is done when all its calls are.

    If ``process_fn`` raises what the pool does not retry, nothing further starts; calls in flight end (or are
    cancelled after the pool's ``drain_s``), whole rows are emitted, and then the port is told the error. Rows with a
    call that was given up are not emitted. The same happens, without an error, at ``close``.

    A thread that both feeds and consumes uses ``run``: ``accept`` would wait for the consumer that it is.
    """

    def __init__(
        self,
        executor: BatchHost,
        split: Callable[[K, C], Sequence[RowContext[R]]],
        process_fn: ProcessFn[R, T],
    ) -> None:
        self._host = executor
        self._split = split
        self._process_fn = cast("Callable[[object, str], object]", process_fn)
        self._accepting = threading.Lock()  # a row's calls are submitted together
        self._line: Line | None = None
        self._is_closed = False

    def connect_output(self, port: OutputPort[RowEntries[K, C, T]], max_pending: int) -> None:
        """Give finished rows to ``port``; at most ``max_pending`` rows are accepted and not released.

        A row is released when the port has it, or, if the port keeps rows (``HoldingPort``), when it left the port.

        Raises:
            NodeStoppedError: the pool was stopped, or this transform closed.
        """
        if max_pending < 1:
            raise ValueError(f"max_pending must be at least 1, not {max_pending}.")
        if self._line is not None:
            raise RuntimeError("The transform has an output already: rows go to one port only.")
        if self._is_closed:
            raise closed_error()
        self._line = Line(
            self._host, self._process_fn, cast("OutputPort[object]", port), max_pending=max_pending
        )
        weakref.finalize(
            self, self._line.stop
        )  # a transform that is dropped, not closed, starts nothing more

    def accept(self, token: K, ctx: C) -> None:
        """Take one row; returns at once, and blocks only while ``max_pending`` rows are unreleased.

        Raises:
            NodeStoppedError: the pool was stopped, or this transform closed; the row was not taken.
            BaseException: whatever stopped the transform, with its own type; the row was not taken.
        """
        line = self._connected()
        if not line.outlet.reserve(lambda: line.is_over):
            raise line.why_over()
        self._take_in(line, token, ctx)

    @property
    def has_room(self) -> bool:
        """Whether ``accept`` would return at once now."""
        return self._connected().outlet.has_room

    def flush(self, timeout: float = FLUSH_S) -> None:
        """Wait until everything accepted so far has been emitted; the transform goes on.

        Raises:
            TimeoutError: that took longer than ``timeout`` seconds; nothing is lost, it comes later.
            BaseException: the transform stopped before that, because of this error.
        """
        line = self._connected()
        outlet, deadline_s = line.outlet, line.clock.monotonic() + timeout
        wanted = outlet.accepted
        outlet.wait_until(
            lambda: outlet.emitted >= wanted or line.has_ended or line.clock.monotonic() >= deadline_s
        )
        left = wanted - outlet.emitted
        if left > 0 and line.has_ended:
            raise line.why_over()
        if left > 0:
            raise TimeoutError(f"{left} of {wanted} rows were not emitted within {timeout:g} s.")

    def stop(self) -> None:
        """Start nothing any more, from any thread. Calls in flight end, and whole rows are emitted, meanwhile."""
        self._is_closed = True
        if self._line is not None:
            self._line.stop()

    def close(self) -> None:
        """Stop, and wait until all that was in flight has ended (or was cancelled) and was emitted. Idempotent."""
        self.stop()
        if (line := self._line) is not None:
            line.outlet.wait_until(lambda: line.has_ended)

    def get_batch_metrics(self) -> BatchMetrics:
        """The numbers of this transform, at any time after ``connect_output``."""
        line = self._connected()
        emitted, given_up = line.outlet.emitted, line.outlet.given_up
        accepted = line.outlet.accepted  # read last: pending is never negative
        return BatchMetrics(
            **self._host.stats_of(line.batch.counters),
            rows_accepted=accepted,
            rows_emitted=emitted,
            rows_given_up=given_up,
            rows_pending=accepted - emitted - given_up,
            calls_in_flight=len(line.batch.running),
        )

    def process(self, row: object, ctx: object) -> NoReturn:
        """Refuse: a row that went another way would pass no gate and keep no order."""
        raise NotImplementedError("Rows come in by accept() and leave by the port: there is one way through.")

    def run(
        self, rows: Iterable[tuple[K, C]], *, max_pending: int | None = None
    ) -> Generator[RowEntries[K, C, T], None, None]:
        """Pull ``rows`` in the iterating thread, and give them back whole and in order: the only output.

        At most ``max_pending`` rows (default: the pool's window) are pulled and not yet given out. If the transform
        stops, the rows that are whole come first, then the error. Leaving it (``close``, dropping it) stops the
        transform at once and waits for nothing; an exception of ``rows`` or ``split`` does so, too.
        """
        port: QueuePort[RowEntries[K, C, T]] = QueuePort()
        self.connect_output(port, self._host.window_rows if max_pending is None else max_pending)
        return self._driven(self._connected(), port, iter(rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; after an exception only stop, so that it comes out at once."""
        if error is None:
            self.close()
        else:
            self.stop()

    def _driven(
        self, line: Line, port: QueuePort[RowEntries[K, C, T]], rows: Iterator[tuple[K, C]]
    ) -> Generator[RowEntries[K, C, T], None, None]:
        try:
            yield from in_order(
                line.batch,
                line.dispatcher,
                pull=lambda: self._pull(line, rows),
                take=port.take,
                arrived=port.arrived,
            )
        finally:
            self.stop()

    def _pull(self, line: Line, rows: Iterator[tuple[K, C]]) -> bool:
        """Take in the next of ``rows``, if there is one and room for it; whether it did."""
        if line.batch.input_closed or line.is_over or not line.outlet.has_room:
            return False
        pair = next(rows, None)
        if pair is None:
            line.batch.input_closed = True
            line.wake()
            return False
        # It may be over by now: then the row is given up like others that had not started.
        line.outlet.reserve(lambda: False)
        self._take_in(line, *pair)
        return True

    def _take_in(self, line: Line, token: K, ctx: C) -> None:
        """Accept the row that room was reserved for."""
        try:
            calls = cast("Sequence[RowContext[object]]", self._split(token, ctx))
            with self._accepting:
                line.outlet.count_accepted()
                line.batch.accept(token, ctx, calls)
        except BaseException:
            line.outlet.released()
            raise
        line.wake()

    def _connected(self) -> Line:
        if self._line is None:
            raise RuntimeError("The transform has no output yet: call connect_output() first.")
        return self._line
