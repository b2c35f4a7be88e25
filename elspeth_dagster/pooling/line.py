"""A connected transform's inner side: its batch, its way out, and the pool that works on it.

Knows neither the transform nor the executor, so that one that is dropped and not closed can still be tidied up.
"""

from __future__ import annotations

from collections.abc import Callable

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.pooling.gathering import RowBatch
from elspeth_dagster.pooling.outlet import Outlet
from elspeth_dagster.pooling.ports import OutputPort
from elspeth_dagster.pooling.stream import BatchHost, stopped_error


class Line:
    """One batch of rows on its way from ``accept`` to the port. Its state belongs to its parts."""

    def __init__(
        self,
        host: BatchHost,
        process_fn: Callable[[object, str], object],
        port: OutputPort[object],
        *,
        max_pending: int,
    ) -> None:
        self.clock: Clock = host.clock
        self.outlet = Outlet(port, max_pending=max_pending, broken=self._port_broke)
        self.batch = RowBatch(
            process_fn,
            clock=host.clock,
            notify=self._settled,
            emit=self.outlet.emit,
            dropped=self.outlet.dropped,
        )
        self._is_stopped = False
        self.dispatcher = host.admit(self.batch)
        self.wake()  # so that the pool knows it, and can tell it of its own end

    def wake(self) -> None:
        """Have the pool look at it soon."""
        self.dispatcher.wake(self.batch)

    @property
    def is_over(self) -> bool:
        """Whether no row that comes in now would be worked on."""
        return self.batch.stopping or self.dispatcher.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes out."""
        return self.batch.settled or self.dispatcher.has_ended

    def why_over(self) -> BaseException:
        """What to raise where it is over: what stopped it, which a thread may know a moment later than that it is."""
        self.outlet.wait_until(lambda: self.batch.error is not None or self._is_stopped or self.has_ended)
        if self.batch.error is not None:
            return self.batch.error
        return closed_error() if self._is_stopped else stopped_error()

    def stop(self) -> None:
        """Start nothing any more; does not wait."""
        self._is_stopped = True
        self.batch.stopping = True
        self.wake()
        if self.dispatcher.has_ended and not self.batch.settled:
            self.outlet.end(stopped_error())  # the loop can not tell the port any more

    def _settled(self) -> None:
        self.outlet.end(self.batch.error)

    def _port_broke(self, error: BaseException) -> None:
        if self.batch.error is None:
            self.batch.error = error
        self.batch.stopping = True
        self.wake()


def closed_error() -> NodeStoppedError:
    """The transform was closed by its own user."""
    return NodeStoppedError(
        "The transform was closed before all rows were done.",
        code="transform_closed",
        hint="the rows that were not sent are untouched: resume the run",
    )
