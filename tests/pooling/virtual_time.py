"""Time that jumps: an event loop that never sleeps, and a pool that runs on it."""

from __future__ import annotations

import asyncio
import datetime as dt
import selectors
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from typing import TypeVar, cast

from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling import BufferEntry, Controller, PoolConfig, PoolStats, ProcessFn, RowContext
from elspeth_dagster.pooling.batch import Batch
from elspeth_dagster.pooling.calls import Caller
from elspeth_dagster.pooling.controller import controller_for
from elspeth_dagster.pooling.dispatcher import Dispatcher
from elspeth_dagster.pooling.stats import public_stats

R = TypeVar("R")
T = TypeVar("T")

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class _JumpingSelector(selectors.DefaultSelector):
    """Where a real selector would sleep, moves the loop's time on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Nothing is left that could ever happen: this would wait for ever.")
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds cost nothing."""

    def __init__(self) -> None:
        self.selector = _JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now_s


class VirtualClock:
    """The clock that goes with a virtual loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


def in_virtual_time(scenario: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run ``scenario`` from time 0; a scenario of minutes takes milliseconds."""

    async def on_the_loop() -> T:
        return await scenario()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(on_the_loop())


class VirtualPool:
    """The pool without its threads, on the running loop."""

    def __init__(
        self, *, controller: Controller | None = None, drain_s: float = 10.0, **config: object
    ) -> None:
        self.config = PoolConfig.model_validate(config)
        self.controller = controller or controller_for(self.config)
        self._loop = asyncio.get_running_loop()
        self._clock = VirtualClock(self._loop)
        self.latest: Batch | None = None
        self.dispatcher = Dispatcher(
            self.config,
            self.controller,
            loop=self._loop,
            caller=Caller(self._loop, clock=self._clock, threads=_no_threads),
            clock=self._clock,
            jitter=lambda: 1.0,
            drain_s=drain_s,
        )

    async def run(
        self, contexts: Iterable[RowContext[R]], process_fn: ProcessFn[R, T]
    ) -> list[BufferEntry[RowResult[T]]]:
        """What ``execute_batch`` does, as a coroutine."""
        changed = asyncio.Event()
        batch = Batch(
            cast("Callable[[object, str], object]", process_fn), clock=self._clock, notify=changed.set
        )
        self.latest = batch
        for context in contexts:
            batch.submit(cast("RowContext[object]", context))
        batch.input_closed = True
        self.dispatcher.wake(batch)
        while not batch.settled:
            await changed.wait()
            changed.clear()
        if batch.error is not None:
            raise batch.error
        return cast("list[BufferEntry[RowResult[T]]]", list(batch.outbox))

    def stats(self) -> PoolStats:
        """The numbers of the latest batch."""
        if self.latest is None:
            raise AssertionError("no batch was run")
        return public_stats(self.config, self.latest.counters, delay_ms=self.controller.delay_ms)


def rows(count: int) -> list[RowContext[int]]:
    """Rows that are just their numbers."""
    return [RowContext(number, f"state-{number}", number) for number in range(count)]


def after(seconds: float) -> Mapping[str, str]:
    """The headers of a server that asks to wait."""
    return {"retry-after": f"{seconds:f}"}


def _no_threads() -> Executor:
    raise AssertionError("no threads in virtual time")
