"""Transforms with the pool's threads: waiting, consuming, being interrupted, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.result import RowResult, Succeeded
from elspeth_dagster.pooling import PoolConfig, PooledExecutor, PooledTransform, QueuePort, RowContext
from tests.pooling.virtual_transforms import KeepingPort, Rows, named_calls

LATEST_S = 0.05 + 0.45
"""The promise, and what a busy machine may add to it."""

Transform = PooledTransform[str, int, str, str]


class UserBugError(Exception):
    """What nobody expected."""


class StopTheStepError(BaseException):
    """As an orchestrator raises it to end a step."""


async def on_the_loop(call: str, state_id: str) -> RowResult[str]:
    await asyncio.sleep(0.001 * (len(call) % 3))
    return Succeeded(call)


def in_a_thread(call: str, state_id: str) -> RowResult[str]:
    return Succeeded(call)


class Held:
    """Work that waits until it is let go."""

    def __init__(self, *, but: str = "") -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.started: list[str] = []
        self._but = but

    def __call__(self, call: str, state_id: str) -> RowResult[str]:
        self.started.append(call)
        self.begun.release()
        if call != self._but:
            assert self.go.wait(timeout=30)
        return Succeeded(call)

    def wait_for(self, calls: int) -> None:
        for _ in range(calls):
            assert self.begun.acquire(timeout=10)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def pool() -> Iterator[PooledExecutor]:
    with PooledExecutor(PoolConfig(pool_size=4), drain_s=1.0) as executor:
        yield executor


def source(count: int) -> Iterator[tuple[str, int]]:
    """Rows with 0, 1 and 2 calls in turn."""
    return ((str(number), number % 3) for number in range(count))


def tokens(rows: list[Rows]) -> list[str]:
    return [entries.token for entries in rows]


@pytest.mark.parametrize("process_fn", [on_the_loop, in_a_thread])
def test_run_gives_every_row_back_whole_and_in_order(
    pool: PooledExecutor, process_fn: Callable[[str, str], RowResult[str]]
) -> None:
    with PooledTransform(pool, named_calls, process_fn) as transform:
        rows = list(transform.run(source(100)))

    assert tokens(rows) == [str(number) for number in range(100)]
    assert [len(entries.calls) for entries in rows] == [number % 3 for number in range(100)]
    called = [entries.row for entries in rows if entries.row is not None]
    assert [row.submit_index for row in called] == list(range(66))
    assert sorted(row.complete_index for row in called) == list(range(66))
    calls = [call for entries in rows for call in entries.calls]
    assert [call.submit_index for call in calls] == list(range(99))
    assert sorted(call.complete_index for call in calls) == list(range(99))
    assert transform.get_batch_metrics()["rows_emitted"] == 100
    assert pool.get_stats()["pool_stats"]["successes"] == 99


def test_run_pulls_rows_as_they_are_needed_in_the_thread_that_iterates(pool: PooledExecutor) -> None:
    pulled = 0
    threads: set[threading.Thread] = set()

    def endless() -> Iterator[tuple[str, int]]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            threads.add(threading.current_thread())
            yield str(number), number % 3

    with PooledTransform(pool, named_calls, on_the_loop) as transform:
        rows = transform.run(endless(), max_pending=10)
        for released, entries in enumerate(itertools.islice(rows, 200)):
            assert entries.token == str(released)
            assert pulled - released <= 10

    assert threads == {threading.current_thread()}


def test_run_gives_what_is_whole_and_then_the_error(pool: PooledExecutor) -> None:
    started: list[str] = []

    def work(call: str, state_id: str) -> RowResult[str]:
        started.append(call)
        if call == "10/0":
            raise UserBugError("boo")
        return Succeeded(call)

    rows: list[Rows] = []
    transform = PooledTransform(pool, named_calls, work)
    with pytest.raises(UserBugError, match="boo"), transform:
        rows.extend(transform.run(source(1000)))

    assert "10" not in tokens(rows)
    assert [int(token) for token in tokens(rows)] == sorted(int(token) for token in tokens(rows))
    assert len(started) < 40
    numbers = transform.get_batch_metrics()
    assert numbers["rows_emitted"] == len(rows)
    assert numbers["rows_pending"] == 0
    with PooledTransform(pool, named_calls, on_the_loop) as another:
        assert len(list(another.run(source(9)))) == 9


def test_an_error_of_the_source_surfaces_and_stops_the_transform(pool: PooledExecutor) -> None:
    def broken() -> Iterator[tuple[str, int]]:
        yield from source(5)
        raise OSError("the source broke")

    transform = PooledTransform(pool, named_calls, on_the_loop)
    with pytest.raises(OSError, match="the source broke"), transform:
        list(transform.run(broken()))

    with pytest.raises(NodeStoppedError, match="was closed"):
        transform.accept("late", 1)


def test_leaving_run_starts_nothing_more_and_waits_for_nothing(pool: PooledExecutor) -> None:
    work = Held(but="0/0")
    transform = PooledTransform(pool, named_calls, work)
    with contextlib.closing(transform.run((str(number), 1) for number in range(100))) as rows:
        assert next(rows).token == "0"
    at_leaving = len(work.started)
    work.go.set()
    transform.close()

    assert len(work.started) <= at_leaving + 1  # one may have been about to start


def test_run_on_nothing_ends_at_once(pool: PooledExecutor) -> None:
    with PooledTransform(pool, named_calls, on_the_loop) as transform:
        assert list(transform.run(iter(()))) == []
        assert transform.get_batch_metrics()["rows_accepted"] == 0


def test_run_on_a_stopped_pool_says_so() -> None:
    with PooledExecutor(PoolConfig()) as executor:
        executor.stop()
        with pytest.raises(NodeStoppedError, match="was stopped"):
            PooledTransform(executor, named_calls, on_the_loop).run(source(3))


def test_accept_blocks_only_while_max_pending_rows_are_unreleased(pool: PooledExecutor) -> None:
    work = Held()
    port: QueuePort[Rows] = QueuePort()
    accepted: list[int] = []

    def feed(transform: Transform) -> None:
        for number in range(6):
            transform.accept(str(number), 1)
            accepted.append(number)

    with PooledTransform(pool, named_calls, work) as transform, ThreadPoolExecutor(1) as other:
        transform.connect_output(port, 3)
        feeding = other.submit(feed, transform)
        work.wait_for(3)
        assert not transform.has_room
        work.go.set()
        transform.flush(timeout=10)
        assert len(accepted) <= 3  # emitted, but not taken
        first = next(iter(port))
        assert first.token == "0"
        rows = [next(iter(port)) for _ in range(5)]
        feeding.result(timeout=10)

    assert tokens(rows) == ["1", "2", "3", "4", "5"]


def test_a_blocked_accept_ends_with_what_stopped_the_transform(pool: PooledExecutor) -> None:
    begun, go = threading.Event(), threading.Event()

    def work(call: str, state_id: str) -> RowResult[str]:
        begun.set()
        assert go.wait(timeout=10)
        raise UserBugError

    with PooledTransform(pool, named_calls, work) as transform, ThreadPoolExecutor(1) as other:
        transform.connect_output(KeepingPort(), 1)
        transform.accept("0", 1)
        blocked = other.submit(transform.accept, "1", 1)
        assert begun.wait(timeout=10)
        go.set()
        with pytest.raises(UserBugError):
            blocked.result(timeout=10)
        assert transform.get_batch_metrics()["rows_accepted"] == 1


def test_rows_of_several_feeding_threads_keep_their_calls_together(pool: PooledExecutor) -> None:
    port: KeepingPort[Rows] = KeepingPort()
    with PooledTransform(pool, named_calls, on_the_loop) as transform, ThreadPoolExecutor(4) as feeders:
        transform.connect_output(port, 20)
        list(feeders.map(lambda number: transform.accept(str(number), number % 4), range(200)))
        transform.flush(timeout=30)

    assert sorted(tokens(port.rows), key=int) == [str(number) for number in range(200)]
    for entries in port.rows:
        assert entries.results == tuple(Succeeded(f"{entries.token}/{n}") for n in range(entries.ctx))
    calls = [call.submit_index for entries in port.rows for call in entries.calls]
    assert calls == list(range(len(calls)))


def test_close_delivers_everything_that_completes_and_gives_up_the_rest(pool: PooledExecutor) -> None:
    work = Held(but="1/0")
    port: KeepingPort[Rows] = KeepingPort()
    transform = PooledTransform(pool, named_calls, work)
    transform.connect_output(port, 100)
    for number in range(10):
        transform.accept(str(number), 1)
    work.wait_for(5)  # of which one has ended, and waits for the first
    with ThreadPoolExecutor(1) as other:
        closing = other.submit(transform.close)
        work.go.set()
        closing.result(timeout=10)
    transform.close()

    assert len(port.rows) == len(work.started) < 10
    assert tokens(port.rows) == [str(number) for number in range(len(port.rows))]
    assert port.error is None
    assert transform.get_batch_metrics()["rows_given_up"] == 10 - len(port.rows)
    with pytest.raises(NodeStoppedError, match="was closed"):
        transform.flush(timeout=0)


def test_flush_waits_for_everything_and_the_transform_goes_on(pool: PooledExecutor) -> None:
    port: QueuePort[Rows] = QueuePort()
    got: list[Rows] = []
    with PooledTransform(pool, named_calls, on_the_loop) as transform:
        transform.connect_output(port, 100)
        for half in range(2):
            for token, calls in source(30):
                transform.accept(f"{half}-{token}", calls)
            transform.flush(timeout=30)
            got.extend(port.ready())
            assert len(got) == 30 * (half + 1)


def test_a_consumer_in_its_own_thread_sees_the_rows_and_then_the_end(pool: PooledExecutor) -> None:
    port: QueuePort[Rows] = QueuePort()
    with ThreadPoolExecutor(1) as consumer:
        with PooledTransform(pool, named_calls, on_the_loop) as transform:
            transform.connect_output(port, 10)
            rows = consumer.submit(list, port)
            for token, calls in source(100):
                transform.accept(token, calls)
            transform.flush(timeout=30)
        assert tokens(rows.result(timeout=10)) == [str(number) for number in range(100)]


def test_a_consumer_in_its_own_thread_sees_the_rows_and_then_the_error(pool: PooledExecutor) -> None:
    def work(call: str, state_id: str) -> RowResult[str]:
        if call == "4/0":
            raise UserBugError
        return Succeeded(call)

    port: QueuePort[Rows] = QueuePort()
    rows: list[Rows] = []
    with PooledTransform(pool, named_calls, work) as transform:
        transform.connect_output(port, 10)
        for token, calls in source(5):
            transform.accept(token, calls)
        with pytest.raises(UserBugError):
            rows.extend(port)
        with pytest.raises(UserBugError):
            list(port.ready())

    assert tokens(rows) == [str(number) for number in range(4)]


def test_a_pool_that_is_closed_first_ends_its_transforms() -> None:
    work = Held(but="0/0")
    port: KeepingPort[Rows] = KeepingPort()
    idle: QueuePort[Rows] = QueuePort()
    executor = PooledExecutor(PoolConfig(pool_size=2), drain_s=5)
    transform = PooledTransform(executor, named_calls, work)
    unused: Transform = PooledTransform(executor, named_calls, on_the_loop)
    transform.connect_output(port, 100)
    unused.connect_output(idle, 100)
    for number in range(4):
        transform.accept(str(number), 1)
    work.wait_for(2)
    work.go.set()
    executor.close()

    assert isinstance(port.error, NodeStoppedError)
    with pytest.raises(NodeStoppedError, match="was stopped"):
        list(idle)
    with pytest.raises(NodeStoppedError, match="was stopped"):
        transform.accept("late", 1)
    transform.close()
    unused.close()


def interrupt(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(StopTheStepError)
    )


def waits_in_run(transform: Transform) -> None:
    list(transform.run((str(number), 2) for number in range(100)))


def waits_in_accept(transform: Transform) -> None:
    transform.connect_output(KeepingPort(), 3)
    for number in range(100):
        transform.accept(str(number), 2)


def waits_in_flush(transform: Transform) -> None:
    transform.connect_output(KeepingPort(), 100)
    for number in range(20):
        transform.accept(str(number), 2)
    transform.flush(timeout=60)


def waits_for_its_port(transform: Transform) -> None:
    port: QueuePort[Rows] = QueuePort()
    transform.connect_output(port, 100)
    for number in range(20):
        transform.accept(str(number), 2)
    list(port)


@pytest.mark.parametrize("waits", [waits_in_run, waits_in_accept, waits_in_flush, waits_for_its_port])
def test_an_interrupt_comes_out_at_once_and_no_call_starts_after_it(
    waits: Callable[[Transform], None],
) -> None:
    work = Held()
    out_s: list[float] = []
    with PooledExecutor(PoolConfig(pool_size=3), drain_s=0.2) as executor:

        def step() -> None:
            try:
                with PooledTransform(executor, named_calls, work) as transform:
                    waits(transform)
            except StopTheStepError:
                out_s.append(time.monotonic())

        thread = threading.Thread(target=step)
        thread.start()
        work.wait_for(3)
        sent_s = time.monotonic()
        interrupt(thread)
        thread.join(timeout=10)
        work.go.set()

    assert out_s[0] - sent_s <= LATEST_S
    assert len(work.started) == 3


def test_the_interrupt_key_ends_the_consumer_in_the_main_thread() -> None:
    work = Held()
    sent_s: list[float] = []

    def press() -> None:
        work.wait_for(3)
        sent_s.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)  # to the process, from another thread

    presser = threading.Thread(target=press)
    with PooledExecutor(PoolConfig(pool_size=3)) as executor:
        presser.start()
        transform = PooledTransform(executor, named_calls, work)
        with pytest.raises(KeyboardInterrupt), transform:
            list(transform.run((str(number), 2) for number in range(100)))
        out_s = time.monotonic()
        work.go.set()
    presser.join()

    assert out_s - sent_s[0] <= LATEST_S
    assert len(work.started) == 3


@pytest.mark.parametrize("waits", [waits_in_run, waits_in_accept, waits_in_flush, waits_for_its_port])
def test_nobody_waits_for_ever_when_the_pools_loop_is_gone(waits: Callable[[Transform], None]) -> None:
    work = Held()
    executor = PooledExecutor(PoolConfig(pool_size=3))
    transform = PooledTransform(executor, named_calls, work)
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(waits, transform)
        work.wait_for(3)
        engine, _ = executor._started()
        engine.let_go()  # as a close does that was interrupted
        assert engine._thread is not None
        engine._thread.join(timeout=10)
        with pytest.raises(NodeStoppedError, match=r"was (stopped|closed)"):
            transform.accept("late", 1)
        transform.close()  # of a port that keeps rows, only the transform's owner can end the wait
        with pytest.raises(NodeStoppedError, match=r"was (stopped|closed)"):
            waiting.result(timeout=10)
        work.go.set()
    executor.close()
    for thread in threading.enumerate():
        if thread.name.startswith("elspeth-pool"):
            thread.join(timeout=10)


def test_a_dropped_transform_starts_nothing_more(pool: PooledExecutor) -> None:
    work = Held()
    transform = PooledTransform(pool, named_calls, work)
    transform.connect_output(KeepingPort(), 100)
    for number in range(20):
        transform.accept(str(number), 1)
    work.wait_for(4)

    del transform
    gc.collect()
    work.go.set()
    pool.execute_batch([RowContext("a", "s", 0)], in_a_thread)

    assert len(work.started) == 4


def test_an_open_transform_does_not_keep_a_dropped_pool() -> None:
    work = Held()
    executor = PooledExecutor(PoolConfig(pool_size=2), drain_s=5)
    transform = PooledTransform(executor, named_calls, work)
    transform.connect_output(KeepingPort(), 100)
    for number in range(10):
        transform.accept(str(number), 1)
    work.wait_for(2)
    own = [thread for thread in threading.enumerate() if thread.name.startswith("elspeth-pool")]

    del transform, executor
    gc.collect()
    work.go.set()
    for thread in own:
        thread.join(timeout=10)

    assert not any(thread.is_alive() for thread in own)


def test_a_transform_itself_costs_little() -> None:
    async def instant(call: str, state_id: str) -> RowResult[str]:
        return Succeeded(call)

    with PooledExecutor(PoolConfig(pool_size=20)) as executor:
        with PooledTransform(executor, named_calls, instant) as warm:
            list(warm.run((str(number), 1) for number in range(500)))
        began_s = time.process_time()
        with PooledTransform(executor, named_calls, instant) as transform:
            list(transform.run((str(number), 1) for number in range(5000)))
        spent_s = time.process_time() - began_s

    assert spent_s / 5000 <= 200e-6
