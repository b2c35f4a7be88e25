"""The reorder buffer against a model of itself."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from elspeth_dagster.pooling import ReorderBuffer


class TickingClock:
    """Each look is a second later than the one before."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


class Reordering(RuleBasedStateMachine):
    """Any order of operations: what comes out is the submitted order, each once, nothing evicted."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: ReorderBuffer[str] = ReorderBuffer(clock=TickingClock())
        self.submitted = 0
        self.completed: dict[int, int] = {}  # index -> completion order
        self.evicted: set[int] = set()
        self.released: list[int] = []
        self.head = 0

    @rule()
    def submit(self) -> None:
        assert self.buffer.submit() == self.submitted
        self.submitted += 1

    @rule(index=st.integers(-2, 30))
    def complete(self, index: int) -> None:
        if not 0 <= index < self.submitted:
            with pytest.raises(KeyError):
                self.buffer.complete(index, "x")
        elif index in self.completed or index in self.evicted:
            with pytest.raises(ValueError, match="settled"):
                self.buffer.complete(index, "x")
        else:
            self.buffer.complete(index, f"result {index}")
            self.completed[index] = len(self.completed)

    @rule(index=st.integers(-2, 30))
    def evict(self, index: int) -> None:
        if not 0 <= index < self.submitted:
            with pytest.raises(KeyError):
                self.buffer.evict(index)
        elif index in self.completed or index in self.evicted:
            with pytest.raises(ValueError, match="settled"):
                self.buffer.evict(index)
        else:
            self.buffer.evict(index)
            self.evicted.add(index)

    @rule()
    def release(self) -> None:
        expected = []
        while self.head in self.completed or self.head in self.evicted:
            if self.head in self.completed:
                expected.append(self.head)
            self.head += 1
        entries = self.buffer.get_ready_results()
        assert [entry.submit_index for entry in entries] == expected
        for entry in entries:
            assert entry.result == f"result {entry.submit_index}"
            assert entry.complete_index == self.completed[entry.submit_index]
            assert entry.submit_timestamp < entry.complete_timestamp
            assert entry.buffer_wait_ms >= 0
        self.released += expected

    @invariant()
    def pending_is_what_is_neither_complete_nor_evicted(self) -> None:
        assert self.buffer.pending == self.submitted - len(self.completed) - len(self.evicted)


Reordering.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReordering = Reordering.TestCase


def test_a_result_that_waited_says_how_long() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(clock=TickingClock())
    buffer.submit()  # 1 s
    buffer.submit()  # 2 s
    buffer.complete(1, "late row", completed_s=10.0, dispatched_s=2.5)
    assert buffer.get_ready_results() == []
    buffer.complete(0, "slow row", completed_s=2.75)

    first, second = (
        buffer.get_ready_results()
    )  # released at 3 s, before the second ended: clocks differ a little

    assert (first.complete_index, second.complete_index) == (1, 0)
    assert first.buffer_wait_ms == 250.0
    assert second.buffer_wait_ms == 0.0
    assert second.dispatch_timestamp == 2.5


def test_a_gap_anywhere_never_blocks_what_follows() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    for index in range(5):
        assert buffer.submit() == index
    for index in (1, 3, 4):
        buffer.complete(index, index)
    buffer.evict(2)
    buffer.evict(0)

    assert [entry.result for entry in buffer.get_ready_results()] == [1, 3, 4]
    assert buffer.pending == 0


def test_completions_of_many_threads_get_indices_without_gap_or_repeat() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    for _ in range(800):
        buffer.submit()

    def complete(part: int) -> None:
        for index in range(part, 800, 8):
            buffer.complete(index, index)

    threads = [threading.Thread(target=complete, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    entries = buffer.get_ready_results()
    assert [entry.submit_index for entry in entries] == list(range(800))
    assert sorted(entry.complete_index for entry in entries) == list(range(800))
