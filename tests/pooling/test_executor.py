"""The pool with its threads: batches, streams, statistics, the end of its life."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from elspeth_dagster.errors import CapacityError, NodeStoppedError
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.pooling import PoolConfig, PooledExecutor, RowContext
from tests.pooling.virtual_time import T, rows


async def on_the_loop(row: int, state_id: str) -> RowResult[int]:
    await asyncio.sleep(0.001 * (row % 3))
    return Succeeded(row)


def in_a_thread(row: int, state_id: str) -> RowResult[int]:
    return Succeeded(row)


class Calling:
    """An object whose call is async."""

    async def __call__(self, row: int, state_id: str) -> RowResult[int]:
        return Succeeded(row)


@pytest.fixture
def pool() -> Iterator[PooledExecutor]:
    with PooledExecutor(PoolConfig(pool_size=4), drain_s=1.0) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("process_fn", [on_the_loop, in_a_thread, Calling()])
def test_plain_and_async_functions_give_results_in_order(pool: PooledExecutor, process_fn: Calling) -> None:
    entries = pool.execute_batch(rows(50), process_fn)

    assert [entry.result for entry in entries] == [Succeeded(n) for n in range(50)]
    assert sorted(entry.complete_index for entry in entries) == list(range(50))
    for entry in entries:
        assert entry.dispatch_timestamp is not None
        assert entry.submit_timestamp <= entry.dispatch_timestamp <= entry.complete_timestamp


def test_plain_functions_run_in_at_most_pool_size_threads(pool: PooledExecutor) -> None:
    barrier = threading.Barrier(4)
    names: set[str] = set()

    def meet(row: int, state_id: str) -> RowResult[int]:
        barrier.wait(timeout=10)  # passes only if four are in here at the same time
        names.add(threading.current_thread().name)
        return Succeeded(row)

    pool.execute_batch(rows(40), meet)

    assert len(names) == 4
    assert pool.get_stats()["pool_stats"]["max_concurrent_reached"] == 4


def test_an_empty_batch_starts_no_thread() -> None:
    before = threading.active_count()
    with PooledExecutor(PoolConfig()) as executor:
        assert executor.execute_batch([], in_a_thread) == []

        assert threading.active_count() == before
        assert executor.get_stats()["pool_stats"]["successes"] == 0
        assert list(executor.stream(iter(rows(0)), in_a_thread)) == []


def test_batches_of_several_threads_run_at_the_same_time_and_never_mix() -> None:
    meeting = threading.Barrier(4)

    def work(row: tuple[int, int], state_id: str) -> RowResult[tuple[int, int]]:
        if row[1] == 0:
            meeting.wait(timeout=10)  # the first rows of all four batches are in flight together
        return Succeeded(row)

    with PooledExecutor(PoolConfig(pool_size=8)) as executor, ThreadPoolExecutor(4) as callers:

        def batch(number: int) -> list[RowResult[tuple[int, int]]]:
            contexts = [RowContext((number, n), f"{number}-{n}", n) for n in range(25)]
            return [entry.result for entry in executor.execute_batch(contexts, work)]

        results = list(callers.map(batch, range(4)))

    assert results == [[Succeeded((number, n)) for n in range(25)] for number in range(4)]


def test_a_stream_pulls_rows_as_they_are_needed_and_no_more_than_its_window(pool: PooledExecutor) -> None:
    pulled = 0

    def endless() -> Iterator[RowContext[int]]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield RowContext(number, str(number), number)

    with pool.stream(endless(), on_the_loop, window=10) as stream:
        for released, entry in enumerate(itertools.islice(stream, 200)):
            assert entry.submit_index == released
            assert pulled - released <= 10

    assert stream.get_stats()["pool_stats"]["successes"] >= 200


def test_rows_are_pulled_in_the_thread_that_iterates(pool: PooledExecutor) -> None:
    threads: set[threading.Thread] = set()

    def source() -> Iterator[RowContext[int]]:
        for context in rows(20):
            threads.add(threading.current_thread())
            yield context

    assert sum(1 for _ in pool.stream(source(), on_the_loop)) == 20
    assert threads == {threading.current_thread()}


def test_results_come_out_while_a_slow_source_still_goes_on(pool: PooledExecutor) -> None:
    ended = [threading.Event() for _ in range(200)]
    released = 0
    furthest = 0

    def source() -> Iterator[RowContext[int]]:
        nonlocal furthest
        for context in rows(200):
            if context.row_index > 0:
                assert ended[context.row_index - 1].wait(timeout=10)
            furthest = max(furthest, context.row_index - released)
            yield context

    async def work(row: int, state_id: str) -> RowResult[int]:
        ended[row].set()
        return Succeeded(row)

    for _ in pool.stream(source(), work, window=1000):
        released += 1

    assert furthest <= 10


def test_an_exception_of_the_source_surfaces_and_the_pool_goes_on(pool: PooledExecutor) -> None:
    def source() -> Iterator[RowContext[int]]:
        yield from rows(5)
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        list(pool.stream(source(), on_the_loop))

    assert len(pool.execute_batch(rows(5), on_the_loop)) == 5


@pytest.mark.parametrize("leave", ["close", "break", "raise"])
def test_leaving_a_stream_stops_dispatch_and_lets_calls_in_flight_end(leave: str) -> None:
    started: list[int] = []
    ended: list[int] = []
    go_on = threading.Event()

    def work(row: int, state_id: str) -> RowResult[int]:
        started.append(row)
        if row > 0:
            assert go_on.wait(timeout=10)
        ended.append(row)
        return Succeeded(row)

    def consume(executor: PooledExecutor) -> None:
        if leave == "close":
            stream = executor.stream(rows(1000), work)
            next(stream)
            stream.close()
            return
        for _ in executor.stream(rows(1000), work):
            if leave == "raise":
                raise LookupError
            break

    with PooledExecutor(PoolConfig(pool_size=4)) as executor:
        if leave == "raise":
            with pytest.raises(LookupError):
                consume(executor)
        else:
            consume(executor)
        at_leaving = len(started)
        go_on.set()
        assert len(executor.execute_batch(rows(1), in_a_thread)) == 1

    assert at_leaving <= 5
    assert len(started) <= at_leaving + 1  # one may have been about to start
    assert sorted(ended) == sorted(started)


def test_a_bug_in_a_thread_stops_the_batch_after_what_was_in_order(pool: PooledExecutor) -> None:
    started: list[int] = []

    def work(row: int, state_id: str) -> RowResult[int]:
        started.append(row)
        if row == 10:
            raise ZeroDivisionError("boo")
        return Succeeded(row)

    released: list[int] = []
    with pytest.raises(ZeroDivisionError, match="boo") as caught:
        released.extend(entry.submit_index for entry in pool.stream(rows(1000), work))

    assert any(frame.name == "work" for frame in caught.traceback)
    assert len(started) < 30
    assert len(pool.execute_batch(rows(9), in_a_thread)) == 9


def test_stop_iteration_from_user_code_does_not_look_like_the_end(pool: PooledExecutor) -> None:
    def work(row: int, state_id: str) -> RowResult[int]:
        raise StopIteration

    with pytest.raises(RuntimeError):
        pool.execute_batch(rows(3), work)


def test_an_interrupt_raised_by_user_code_surfaces_and_the_pool_goes_on(pool: PooledExecutor) -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.execute_batch(rows(3), work)

    assert len(pool.execute_batch(rows(3), on_the_loop)) == 3


def test_a_plain_function_that_gives_a_coroutine_is_told_to_be_async(pool: PooledExecutor) -> None:
    def plain(row: int, state_id: str) -> Awaitable[RowResult[int]]:
        return on_the_loop(row, state_id)

    with pytest.raises(TypeError, match="async def"):
        pool.execute_batch(rows(3), plain)


def test_a_wrong_type_from_a_thread_is_named(pool: PooledExecutor) -> None:
    with pytest.raises(TypeError, match="not dict"):
        pool.execute_batch(rows(3), lambda row, state_id: {"a": row})  # type: ignore[arg-type, return-value]


def test_the_callers_context_is_seen_in_threads_and_on_the_loop(pool: PooledExecutor) -> None:
    variable = contextvars.ContextVar("variable", default="nothing")
    variable.set("the caller's")

    def plain(row: int, state_id: str) -> RowResult[str]:
        return Succeeded(variable.get())

    async def on_loop(row: int, state_id: str) -> RowResult[str]:
        return Succeeded(variable.get())

    assert [entry.result for entry in pool.execute_batch(rows(1), plain)] == [Succeeded("the caller's")]
    assert [entry.result for entry in pool.execute_batch(rows(1), on_loop)] == [Succeeded("the caller's")]


def test_the_executors_stats_are_the_latest_batchs_and_a_stream_keeps_its_own(pool: PooledExecutor) -> None:
    rejected: set[int] = set()

    async def work(row: int, state_id: str) -> RowResult[int]:
        if row not in rejected:
            rejected.add(row)
            raise CapacityError("busy", status_code=503, headers={"retry-after-ms": "5"})
        return Succeeded(row)

    first = pool.stream(rows(3), work)
    assert len(list(first)) == 3
    pool.execute_batch(rows(2), work)

    assert first.get_stats()["pool_stats"]["capacity_retries"] == 3
    assert first.get_stats()["pool_stats"]["total_throttle_time_ms"] >= 5
    assert pool.get_stats()["pool_stats"]["capacity_retries"] == 0
    assert pool.get_stats()["pool_stats"]["successes"] == 2
    assert pool.get_stats()["pool_config"]["pool_size"] == 4


def test_a_row_that_spends_its_budget_ends_in_a_result(pool: PooledExecutor) -> None:
    def work(row: int, state_id: str) -> RowResult[int]:
        raise CapacityError("busy", status_code=529, headers={"retry-after": "1000"})

    with PooledExecutor(PoolConfig(max_capacity_retry_seconds=0.05)) as executor:
        (entry,) = executor.execute_batch(rows(1), work)

    assert isinstance(entry.result, Rejected)
    assert entry.result.reason == "retry_timeout"
    assert entry.result.facts["status_code"] == 529


def test_a_window_below_one_is_refused(pool: PooledExecutor) -> None:
    with pytest.raises(ValueError, match="window"):
        pool.stream(rows(1), in_a_thread, window=0)


def test_stop_from_another_thread_ends_every_batch() -> None:
    in_flight = threading.Event()
    go_on = threading.Event()

    def work(row: int, state_id: str) -> RowResult[int]:
        in_flight.set()
        assert go_on.wait(timeout=10)
        return Succeeded(row)

    with PooledExecutor(PoolConfig(pool_size=2)) as executor, ThreadPoolExecutor(1) as other:
        stream = executor.stream(rows(100), work)
        released = other.submit(lambda: [entry.submit_index for entry in _until_stopped(stream)])
        assert in_flight.wait(timeout=10)
        executor.stop()
        go_on.set()
        assert released.result(timeout=10) == list(range(len(released.result())))
        assert len(released.result()) <= 2
        with pytest.raises(NodeStoppedError):
            executor.execute_batch(rows(1), in_a_thread)


def _until_stopped(stream: Iterator[T]) -> Iterator[T]:
    with pytest.raises(NodeStoppedError):
        yield from stream


def test_a_closed_pool_refuses_work_and_closes_twice() -> None:
    executor = PooledExecutor(PoolConfig())
    executor.execute_batch(rows(1), on_the_loop)
    executor.close()
    executor.close()

    with pytest.raises(NodeStoppedError):
        executor.execute_batch(rows(1), on_the_loop)


def test_what_calls_share_is_closed_on_their_loop() -> None:
    seen: list[asyncio.AbstractEventLoop] = []

    async def look() -> None:
        seen.append(asyncio.get_running_loop())

    async def work(row: int, state_id: str) -> RowResult[int]:
        await look()
        return Succeeded(row)

    with PooledExecutor(PoolConfig()) as executor:
        executor.on_close(look)
        executor.execute_batch(rows(1), work)
        assert len(seen) == 1

    assert len(seen) == 2
    assert len(set(seen)) == 1


def test_a_dropped_pool_leaves_no_thread() -> None:
    executor = PooledExecutor(PoolConfig())
    executor.execute_batch(rows(1), on_the_loop)
    (loop_thread,) = [thread for thread in threading.enumerate() if thread.name == "elspeth-pool-loop"]

    del executor
    loop_thread.join(timeout=10)

    assert not loop_thread.is_alive()


def test_a_pool_that_nobody_closed_does_not_hold_up_the_exit_of_the_process() -> None:
    program = (
        "from elspeth_dagster.model.result import Succeeded\n"
        "from elspeth_dagster.pooling import *\n"
        "async def work(row, state_id): return Succeeded(row)\n"
        "pool = PooledExecutor(PoolConfig())\n"
        "pool.execute_batch([RowContext({}, 's', 0)], work)\n"
        "import sys; sys.keep = pool\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_the_pool_itself_costs_little() -> None:
    async def instant(row: int, state_id: str) -> RowResult[int]:
        return Succeeded(row)

    with PooledExecutor(PoolConfig(pool_size=20)) as executor:
        executor.execute_batch(rows(500), instant)
        began_s = time.process_time()
        executor.execute_batch(rows(5000), instant)
        spent_s = time.process_time() - began_s

    assert spent_s / 5000 <= 150e-6
