"""Results find the waiter of their own attempt, whatever comes first, late, twice or never."""

from __future__ import annotations

import asyncio
import ctypes
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.result import RowResult, Succeeded
from elspeth_dagster.pooling import (
    AdapterPort,
    PoolConfig,
    PooledExecutor,
    PooledTransform,
    RowContext,
    RowEntries,
    RowWaiter,
    SharedBatchAdapter,
)
from tests.pooling.virtual_time import EPOCH


@dataclass(frozen=True, slots=True)
class Token:
    """As much of a token as an adapter looks at."""

    token_id: str


class WorkerError(Exception):
    """What a worker raised."""


class WatchedClock:
    """Moves on at each look, and says how often it was looked at."""

    def __init__(self, looked: Callable[[int], None], *, step_s: float = 1.0) -> None:
        self._looked = looked
        self._step_s = step_s
        self._looks = 0

    def now(self) -> dt.datetime:
        return EPOCH

    def monotonic(self) -> float:
        self._looks += 1
        self._looked(self._looks)
        return self._looks * self._step_s


@pytest.fixture
def adapter() -> Iterator[SharedBatchAdapter[int]]:
    """Nothing is left in an adapter after any of these tests."""
    it: SharedBatchAdapter[int] = SharedBatchAdapter()
    yield it
    assert it._slots == {}
    counts = it.get_metrics()
    assert counts["waiting"] == 0
    assert counts["registered"] == counts["delivered"] + counts["timed_out"] + counts["cancelled"]


@pytest.mark.parametrize("token", ["t", Token("t")])
def test_a_result_that_came_before_the_wait_is_given(
    adapter: SharedBatchAdapter[int], token: str | Token
) -> None:
    waiter = adapter.register("t", "s")
    adapter.emit(token, 7, "s")

    assert waiter.wait(timeout=0) == 7
    assert adapter.get_metrics()["delivered"] == 1


def test_a_result_that_comes_during_the_wait_is_given_at_once(adapter: SharedBatchAdapter[int]) -> None:
    waiter = adapter.register("t")
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(waiter.wait, 30)
        adapter.emit("t", 7)
        assert answer.result(timeout=10) == 7


def test_a_result_that_came_before_the_registration_is_dropped(adapter: SharedBatchAdapter[int]) -> None:
    adapter.emit("t", 7, "s")
    waiter = adapter.register("t", "s")

    with pytest.raises(TimeoutError):
        waiter.wait(timeout=0)
    assert adapter.get_metrics()["dropped_late"] == 1


def test_results_reach_their_own_waiters_in_any_order() -> None:
    adapter: SharedBatchAdapter[int] = SharedBatchAdapter()
    waiters = [adapter.register(f"t{n}", f"s{n}") for n in range(200)]
    numbers = [number * 77 % 200 for number in range(200)]  # each once, far from their order

    with ThreadPoolExecutor(20) as threads:
        answers = threads.map(lambda waiter: waiter.wait(30), waiters)
        for number in numbers:
            adapter.emit(Token(f"t{number}"), number, f"s{number}")
        assert list(answers) == list(range(200))

    assert adapter._slots == {}
    assert adapter.get_metrics() == {
        "registered": 200,
        "delivered": 200,
        "dropped_late": 0,
        "timed_out": 0,
        "cancelled": 0,
        "waiting": 0,
    }


def test_a_late_answer_never_reaches_the_next_attempt(adapter: SharedBatchAdapter[int]) -> None:
    first = adapter.register("t", "t@n")
    with pytest.raises(TimeoutError):
        first.wait(timeout=0)
    second = adapter.register("t", "t@n~2")

    adapter.emit("t", 1, "t@n")
    adapter.emit("t", 2, "t@n~2")

    assert second.wait(timeout=0) == 2
    assert adapter.get_metrics()["dropped_late"] == 1


def test_a_timeout_names_token_and_state(adapter: SharedBatchAdapter[int]) -> None:
    with pytest.raises(TimeoutError, match=r"'the-token'.*'the-state'.* 0\.01 s"):
        adapter.register("the-token", "the-state").wait(timeout=0.01)
    with pytest.raises(TimeoutError, match="token 'alone' within"):
        adapter.register("alone").wait(timeout=0)
    assert adapter.get_metrics()["timed_out"] == 2


def test_a_result_of_the_last_moment_is_removed_with_its_waiter() -> None:
    # The second look at the clock finds the waiter's time over.
    clock = WatchedClock(lambda looks: late.emit("t", 7, "s") if looks == 2 else None)
    late: SharedBatchAdapter[int] = SharedBatchAdapter(clock=clock)
    waiter = late.register("t", "s")

    with pytest.raises(TimeoutError):
        waiter.wait(timeout=0.5)

    assert late._slots == {}
    assert late.get_metrics()["dropped_late"] == 1
    with pytest.raises(TimeoutError):
        late.register("t", "s").wait(timeout=0)


def test_of_several_results_the_first_counts(adapter: SharedBatchAdapter[int]) -> None:
    waiter = adapter.register("t")
    adapter.emit("t", 1)
    adapter.emit("t", 2)
    adapter.emit("t", WorkerError())

    assert waiter.wait(timeout=0) == 1
    assert adapter.get_metrics()["dropped_late"] == 2


def test_registering_for_the_same_attempt_twice_is_refused(adapter: SharedBatchAdapter[int]) -> None:
    waiter = adapter.register("t", "s")
    with pytest.raises(ValueError, match="'t', state 's' is waited for already"):
        adapter.register("t", "s")

    adapter.emit("t", 7, "s")
    assert waiter.wait(timeout=0) == 7


def test_a_result_is_given_once(adapter: SharedBatchAdapter[int]) -> None:
    waiter = adapter.register("t")
    adapter.emit("t", 7)
    waiter.wait(timeout=0)

    with pytest.raises(RuntimeError, match="given once"):
        waiter.wait(timeout=30)


@pytest.mark.parametrize(
    "error", [WorkerError("boo"), KeyError("k"), KeyboardInterrupt(), TimeoutError("its own")]
)
def test_a_workers_exception_is_raised_in_the_waiter_as_itself(
    adapter: SharedBatchAdapter[int], error: BaseException
) -> None:
    waiter = adapter.register("t")
    adapter.emit("t", error)

    with pytest.raises(type(error)) as caught:
        waiter.wait(timeout=0)
    assert caught.value is error
    assert adapter.get_metrics()["delivered"] == 1
    assert adapter.get_metrics()["timed_out"] == 0


def test_clear_wakes_everybody_with_an_error_and_the_adapter_goes_on(
    adapter: SharedBatchAdapter[int],
) -> None:
    answered = adapter.register("answered")
    adapter.emit("answered", 1)
    waiters = [adapter.register(f"t{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(waiter.wait, 30) for waiter in waiters]
        adapter.clear()
        for answer in answers:
            with pytest.raises(NodeStoppedError, match="ended before this row was answered"):
                answer.result(timeout=10)

    assert answered.wait(timeout=0) == 1
    again = adapter.register("t0")
    adapter.emit("t0", 5)
    assert again.wait(timeout=0) == 5
    assert adapter.get_metrics()["cancelled"] == 4


def test_a_waiter_that_nobody_needs_any_more_leaves_nothing(adapter: SharedBatchAdapter[int]) -> None:
    waiter = adapter.register("t")
    waiter.cancel()
    waiter.cancel()
    adapter.emit("t", 1)

    assert adapter.get_metrics()["dropped_late"] == 1
    with pytest.raises(RuntimeError, match="has ended"):
        waiter.wait(timeout=30)


def test_an_interrupt_comes_out_of_the_wait_and_leaves_nothing() -> None:
    waiting, out = threading.Event(), threading.Event()
    adapter: SharedBatchAdapter[int] = SharedBatchAdapter(
        clock=WatchedClock(lambda looks: waiting.set(), step_s=0)
    )
    waiter = adapter.register("t")

    def wait() -> None:
        try:
            waiter.wait(timeout=60)
        except WorkerError:
            out.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(timeout=10)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(WorkerError)
    )
    assert out.wait(timeout=10)
    thread.join()

    assert adapter._slots == {}
    assert adapter.get_metrics()["cancelled"] == 1


class AdapterModel(RuleBasedStateMachine):
    """Any sequence of acts, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter: SharedBatchAdapter[int] = SharedBatchAdapter()
        self.waiters: dict[tuple[str, str], RowWaiter[int]] = {}
        self.answers: dict[tuple[str, str], int] = {}
        self.emitted = 0
        self.got = 0
        self.dropped = 0

    keys = st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2"]))

    @rule(key=keys)
    def register(self, key: tuple[str, str]) -> None:
        if key in self.waiters:
            with pytest.raises(ValueError, match="already"):
                self.adapter.register(*key)
        else:
            self.waiters[key] = self.adapter.register(*key)

    @rule(key=keys)
    def emit(self, key: tuple[str, str]) -> None:
        self.emitted += 1
        self.adapter.emit(key[0], self.emitted, key[1])
        if key in self.waiters and key not in self.answers:
            self.answers[key] = self.emitted
        else:
            self.dropped += 1

    @precondition(lambda self: self.waiters)
    @rule(data=st.data(), how=st.sampled_from(["wait", "cancel"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.waiters)))
        waiter, answer = self.waiters.pop(key), self.answers.pop(key, None)
        if how == "cancel":
            waiter.cancel()
            self.dropped += answer is not None
        elif answer is None:
            with pytest.raises(TimeoutError):
                waiter.wait(timeout=0)
        else:
            assert waiter.wait(timeout=0) == answer
            self.got += 1

    @rule()
    def clear(self) -> None:
        self.adapter.clear()
        for key, waiter in self.waiters.items():
            if key in self.answers:
                assert waiter.wait(timeout=0) == self.answers[key]
                self.got += 1
            else:
                with pytest.raises(NodeStoppedError):
                    waiter.wait(timeout=0)
        self.waiters.clear()
        self.answers.clear()

    @invariant()
    def nothing_leaks_and_every_result_is_accounted_for(self) -> None:
        counts = self.adapter.get_metrics()
        assert set(self.adapter._slots) == set(self.waiters)
        assert counts["waiting"] == len(self.waiters)
        assert counts["delivered"] == self.got
        assert counts["dropped_late"] == self.dropped
        assert self.emitted == self.got + self.dropped + len(self.answers)


TestAdapterModel = AdapterModel.TestCase

Answered = RowEntries[str, str, int]


def address(entries: Answered) -> tuple[str, str]:
    return entries.token, entries.ctx


def split(token: str, ctx: str) -> list[RowContext[int]]:
    return [RowContext(int(token), ctx, int(token))]


def test_threads_that_each_wait_for_their_own_row_share_one_transform() -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        await asyncio.sleep(0.001 * (row % 4))
        return Succeeded(row * 10)

    adapter: SharedBatchAdapter[Answered] = SharedBatchAdapter()

    with PooledExecutor(PoolConfig(pool_size=8)) as pool:
        with PooledTransform(pool, split, work) as transform, ThreadPoolExecutor(10) as threads:
            transform.connect_output(AdapterPort(adapter, address), max_pending=5)

            def whole_way(number: int) -> RowResult[int]:
                waiter = adapter.register(str(number), f"s{number}")
                transform.accept(str(number), f"s{number}")
                return waiter.wait(timeout=30).results[0]

            results = list(threads.map(whole_way, range(100)))
        assert transform.get_batch_metrics()["rows_emitted"] == 100

    assert results == [Succeeded(number * 10) for number in range(100)]
    assert adapter._slots == {}


@pytest.mark.parametrize("ending", ["bug", "close"])
def test_when_the_transform_ends_nobody_waits_in_vain(ending: str) -> None:
    async def work(row: int, state_id: str) -> RowResult[int]:
        if ending == "bug":
            raise WorkerError
        await asyncio.sleep(1000)
        return Succeeded(row)

    adapter: SharedBatchAdapter[Answered] = SharedBatchAdapter()
    waiter = adapter.register("1", "s")
    with PooledExecutor(PoolConfig(), drain_s=0) as pool, PooledTransform(pool, split, work) as transform:
        transform.connect_output(AdapterPort(adapter, address), max_pending=5)
        transform.accept("1", "s")
        transform.stop() if ending == "close" else None
        with pytest.raises(WorkerError if ending == "bug" else NodeStoppedError):
            waiter.wait(timeout=30)
