"""An exception raised in the caller's thread while it waits for the pool: out at once, and nothing starts after it."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from elspeth_dagster.errors import CapacityError
from elspeth_dagster.model.result import RowResult, Succeeded
from elspeth_dagster.pooling import PoolConfig, PooledExecutor, ProcessFn, RowContext
from elspeth_dagster.pooling.engine import SLICE_S
from tests.pooling.virtual_time import rows

LATEST_S = 0.05 + 0.45
"""The promise, and what a busy machine may add to it."""

Work = ProcessFn[int, int]


class StopTheStepError(BaseException):
    """As an orchestrator raises it to end a step."""


class Scene:
    """A pool in one of its waiting states; ``reached`` is set when it is there."""

    def __init__(self, **config: object) -> None:
        self.config = PoolConfig.model_validate(config)
        self.reached = threading.Event()
        self.release = threading.Event()
        self.started: list[int] = []

    def in_flight(self, row: int, state_id: str) -> RowResult[int]:
        self.started.append(row)
        if len(self.started) == self.config.pool_size:
            self.reached.set()
        assert self.release.wait(timeout=30)
        return Succeeded(row)

    async def in_flight_on_the_loop(self, row: int, state_id: str) -> RowResult[int]:
        self.started.append(row)
        if len(self.started) == self.config.pool_size:
            self.reached.set()
        await asyncio.sleep(1)
        return Succeeded(row)

    def told_to_wait(self, row: int, state_id: str) -> RowResult[int]:
        self.started.append(row)
        self.reached.set()
        raise CapacityError("busy", status_code=429, headers={"retry-after": "600"})

    def once(self, row: int, state_id: str) -> RowResult[int]:
        self.started.append(row)
        self.reached.set()
        return Succeeded(row)


def slots_taken() -> tuple[Scene, Work]:
    scene = Scene(pool_size=3)
    return scene, scene.in_flight


def slots_taken_on_the_loop() -> tuple[Scene, Work]:
    scene = Scene(pool_size=3)
    return scene, scene.in_flight_on_the_loop


def waiting_as_the_server_asked() -> tuple[Scene, Work]:
    scene = Scene(pool_size=1)
    return scene, scene.told_to_wait


def waiting_for_the_pace() -> tuple[Scene, Work]:
    scene = Scene(pool_size=1, throttle="fixed", min_dispatch_delay_ms=600_000, max_dispatch_delay_ms=600_000)
    return scene, scene.once


STATES = [slots_taken, slots_taken_on_the_loop, waiting_as_the_server_asked, waiting_for_the_pace]


def interrupt(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(StopTheStepError)
    )


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["batch", "stream"])
def test_an_interrupt_comes_out_at_once_and_no_call_starts_after_it(
    state: Callable[[], tuple[Scene, Work]], how: str
) -> None:
    scene, work = state()
    out_s: list[float] = []

    def wait(executor: PooledExecutor, contexts: Sequence[RowContext[int]]) -> None:
        try:
            if how == "batch":
                executor.execute_batch(contexts, work)
            else:
                with executor.stream(contexts, work) as stream:
                    list(stream)
        except StopTheStepError:
            out_s.append(time.monotonic())

    with PooledExecutor(scene.config, drain_s=0.2) as executor:
        # Few enough for those that may go without a wait to be under way when the state is reached.
        contexts = rows(1) if state is waiting_as_the_server_asked else rows(30)
        caller = threading.Thread(target=wait, args=(executor, contexts))
        caller.start()
        assert scene.reached.wait(timeout=10)
        interrupt(caller)
        began_s = time.monotonic()
        caller.join(timeout=10)
        at_interrupt = list(scene.started)
        scene.release.set()

    assert len(out_s) == 1
    assert out_s[0] - began_s <= LATEST_S
    assert scene.started == at_interrupt


def test_a_waiting_thread_looks_up_often_enough_for_the_promise() -> None:
    assert SLICE_S <= 0.05 / 2


def test_control_c_in_the_main_thread_comes_out_at_once_and_no_call_starts_after_it() -> None:
    scene, work = slots_taken()
    sent_s: list[float] = []

    def press() -> None:
        assert scene.reached.wait(timeout=10)
        sent_s.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)  # to the process, from another thread

    presser = threading.Thread(target=press)
    with PooledExecutor(scene.config) as executor:
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            executor.execute_batch(rows(30), work)
        out_s = time.monotonic()
        scene.release.set()
    presser.join()

    assert out_s - sent_s[0] <= LATEST_S
    assert len(scene.started) == 3


def test_an_interrupt_of_close_comes_out_at_once_too() -> None:
    scene, work = slots_taken()
    executor = PooledExecutor(scene.config, drain_s=30)
    stream = executor.stream(rows(30), work)
    took_s: list[float] = []
    closing = threading.Event()

    def leave() -> None:
        consumer.join(timeout=10)
        try:
            closing.set()
            executor.close()
        except StopTheStepError:
            took_s.append(time.monotonic() - began_s)

    def consume() -> None:
        with pytest.raises(StopTheStepError):
            next(stream)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert scene.reached.wait(timeout=10)
    interrupt(consumer)
    closer = threading.Thread(target=leave)
    closer.start()
    assert closing.wait(timeout=10)
    began_s = time.monotonic()
    interrupt(closer)
    closer.join(timeout=10)
    scene.release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("elspeth-pool"):
            thread.join(timeout=10)

    assert len(took_s) == 1
    assert took_s[0] <= LATEST_S
    assert len(scene.started) == 3


def test_an_interrupt_while_a_row_is_pulled_stops_everything() -> None:
    started: list[int] = []

    def source() -> Iterator[RowContext[int]]:
        yield from rows(2)
        raise StopTheStepError

    async def work(row: int, state_id: str) -> RowResult[int]:
        started.append(row)
        await asyncio.sleep(0.01)
        return Succeeded(row)

    with PooledExecutor(PoolConfig(pool_size=1)) as executor, pytest.raises(StopTheStepError):
        list(executor.stream(source(), work))

    assert len(started) <= 1
