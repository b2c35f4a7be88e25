"""The pool as its users see it: batches and streams of rows, in; results in the same order, out."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

from elspeth_dagster.model.clock import Clock, SystemClock
from elspeth_dagster.model.clock import jitter as random_jitter
from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling.batch import Batch
from elspeth_dagster.pooling.calls import Caller
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.controller import Controller, controller_for
from elspeth_dagster.pooling.dispatcher import Dispatcher
from elspeth_dagster.pooling.engine import Engine
from elspeth_dagster.pooling.reorder import BufferEntry
from elspeth_dagster.pooling.rows import ProcessFn, RowContext
from elspeth_dagster.pooling.stats import BatchCounters, PoolStats, public_stats
from elspeth_dagster.pooling.stream import RowStream, entries_in_order, stopped_error

R = TypeVar("R")
T = TypeVar("T")

DRAIN_S = 10.0
"""What calls in flight get when their batch stops: most answers come within it, and they are paid for."""

CANCEL_S = 2.0
"""What cancelled calls get to tidy up before the loop goes."""

WINDOW_POOLS = 8
"""Rows unreleased at most, in pools: one slow row may take eight times the usual before the pool runs dry."""


class PooledExecutor:
    """Works on rows with at most ``pool_size`` calls in flight, at the pace that the provider allows.

    All batches and streams of one executor share its limit and its pace, take turns row by row, and run at the
    same time. ``close`` (or ``with``) ends its threads. ``drain_s`` is what calls in flight get when their
    batch stops before they are cancelled; a plain function cannot be cancelled and ends when it ends.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        clock: Clock | None = None,
        controller: Controller | None = None,
        jitter: Callable[[], float] = random_jitter,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._controller = controller or controller_for(config)
        self._jitter = jitter
        self._drain_s = drain_s
        self._lock = threading.Lock()  # owns the two below
        self._machine: tuple[Engine, Dispatcher] | None = None
        self._stopped = False
        self._closers: list[Callable[[], Coroutine[object, object, object]]] = []
        self._latest = BatchCounters()

    def execute_batch(
        self, contexts: Sequence[RowContext[R]], process_fn: ProcessFn[R, T]
    ) -> list[BufferEntry[RowResult[T]]]:
        """Work on all of ``contexts`` and return their results in the same order.

        Capacity and transient errors are retried and end in a ``Rejected`` result at worst. Any other exception
        of ``process_fn`` stops the batch and is raised here; the executor stays usable.
        """
        if not contexts:
            self._latest = BatchCounters()
            return []
        return list(self.stream(contexts, process_fn, window=len(contexts)))

    def stream(
        self, contexts: Iterable[RowContext[R]], process_fn: ProcessFn[R, T], *, window: int | None = None
    ) -> RowStream[T]:
        """Work on ``contexts`` while they are pulled, in the iterating thread, and give results in their order.

        At most ``window`` rows (default: eight pools) are pulled and not yet given out, so memory is bounded.
        """
        rows_max = self.window_rows if window is None else window
        if rows_max < 1:
            raise ValueError(f"window must be at least 1, not {rows_max}.")
        arrived = threading.Event()
        batch = Batch(
            cast("Callable[[object, str], object]", process_fn), clock=self._clock, notify=arrived.set
        )
        entries = entries_in_order(
            self, batch, cast("Iterable[RowContext[object]]", contexts), window=rows_max, arrived=arrived
        )
        return RowStream(entries, stats=lambda: self.stats_of(batch.counters))

    def get_stats(self) -> PoolStats:
        """The numbers of the batch that was begun last."""
        return self.stats_of(self._latest)

    def on_close(self, function: Callable[[], Coroutine[object, object, object]]) -> None:
        """Have a coroutine run on the loop at ``close``, after the last call, as to close what calls share."""
        self._closers.append(function)

    def set_limit(self, calls: int) -> None:
        """Have at most ``calls`` in flight from now on, never more than ``pool_size``; 0 lets nothing start."""
        self._started()[1].set_limit(calls)

    @property
    def in_use(self) -> int:
        """The larger of what is in flight and what may be."""
        dispatcher = self._started()[1]
        return max(dispatcher.limit, dispatcher.in_flight)

    def stop(self) -> None:
        """Stop all dispatching, from any thread. Batches give out what ends, then raise ``NodeStoppedError``."""
        with self._lock:
            self._stopped = True
            machine = self._machine
        if machine is not None:
            machine[1].stop(stopped_error())

    def close(self) -> None:
        """Stop, wait for what is in flight (``drain_s``, then cancelled), and end all threads. Idempotent.

        An exception raised in the waiting thread meanwhile is let through at once; what is left ends by itself.
        """
        with self._lock:
            self._stopped = True
            machine = self._machine
        if machine is None or machine[0].has_ended:
            return
        engine, dispatcher = machine
        try:
            dispatcher.stop(stopped_error())
            quiet = engine.run(lambda: dispatcher.wait_until_quiet(timeout_s=self._drain_s + CANCEL_S))
            for closer in reversed(self._closers):
                engine.run(closer)
        except BaseException:
            engine.let_go()
            raise
        engine.stop(threads_are_idle=quiet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For what is built on the pool

    @property
    def clock(self) -> Clock:
        """The clock of all timestamps."""
        return self._clock

    @property
    def window_rows(self) -> int:
        """Rows unreleased at most, unless told."""
        return WINDOW_POOLS * self._config.pool_size

    def admit(self, batch: Batch) -> Dispatcher:
        """Make ready for ``batch``, whose numbers are the latest from here on.

        Raises:
            NodeStoppedError: the pool was stopped.
        """
        dispatcher = self._started()[1]
        self._latest = batch.counters
        return dispatcher

    def stats_of(self, counters: BatchCounters) -> PoolStats:
        """The public form of a batch's numbers."""
        return public_stats(self._config, counters, delay_ms=self._controller.delay_ms)

    def _started(self) -> tuple[Engine, Dispatcher]:
        with self._lock:
            if self._stopped:
                raise stopped_error()
            if self._machine is None:
                self._machine = self._start()
            return self._machine

    def _start(self) -> tuple[Engine, Dispatcher]:
        engine = Engine(threads_max=self._config.pool_size)
        dispatcher = Dispatcher(
            self._config,
            self._controller,
            loop=engine.loop,
            caller=Caller(engine.loop, clock=self._clock, threads=engine.threads),
            clock=self._clock,
            jitter=self._jitter,
            drain_s=self._drain_s,
        )
        engine.start(is_idle=lambda: dispatcher.is_idle)
        weakref.finalize(self, engine.let_go)  # a pool that is dropped, not closed, leaves no thread
        return engine, dispatcher
