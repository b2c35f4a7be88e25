"""Puts results that finish in any order back into the order of submission.

Knows nothing of pools, retries or threads' reasons; it only holds what came early.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from elspeth_dagster.model.clock import Clock, SystemClock

T = TypeVar("T")

_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class BufferEntry(Generic[T]):
    """One result, with the evidence of where it stood before and after reordering.

    Timestamps are monotonic seconds of one clock. ``buffer_wait_ms`` is how long the finished result waited
    for earlier ones. ``dispatch_timestamp`` is when its first call left, None where that was not told.
    """

    submit_index: int
    complete_index: int
    submit_timestamp: float
    complete_timestamp: float
    buffer_wait_ms: float
    result: T
    dispatch_timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class _Pending:
    submitted_s: float


@dataclass(frozen=True, slots=True)
class _Finished(Generic[T]):
    complete_index: int
    submitted_s: float
    completed_s: float
    dispatched_s: float | None
    result: T


class _Evicted:
    __slots__ = ()


_EVICTED: Final = _Evicted()
_OPEN: Final = _Pending(0.0)
"""Stands for the index after the last: nothing to release there yet."""


class ReorderBuffer(Generic[T]):
    """Gives results back in the order of submission. Every operation takes constant time (per result released).

    Memory is bounded by the rows that are submitted and not released: whoever submits must bound those.
    Safe to use from several threads; one lock owns all of it.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._slots: dict[int, _Pending | _Finished[T] | _Evicted] = {}
        self._submitted = 0
        self._released = 0
        self._completed = 0
        self._pending = 0

    @property
    def pending(self) -> int:
        """How many were submitted and are neither complete nor evicted."""
        return self._pending

    def submit(self) -> int:
        """Take the next index, from 0."""
        with self._lock:
            index = self._submitted
            self._slots[index] = _Pending(self._clock.monotonic())
            self._submitted += 1
            self._pending += 1
            return index

    def complete(
        self, index: int, result: T, *, completed_s: float | None = None, dispatched_s: float | None = None
    ) -> None:
        """Store the result of ``index``; ``completed_s`` is when its call ended (default: now).

        Raises:
            KeyError: ``index`` was never submitted.
            ValueError: ``index`` is complete already, or was evicted.
        """
        with self._lock:
            pending = self._pending_at(index)
            ended_s = self._clock.monotonic() if completed_s is None else completed_s
            self._slots[index] = _Finished(
                self._completed, pending.submitted_s, ended_s, dispatched_s, result
            )
            self._completed += 1
            self._pending -= 1

    def evict(self, index: int) -> None:
        """Give ``index`` up: nothing is released for it, and it blocks nothing that follows.

        Raises:
            KeyError: ``index`` was never submitted.
            ValueError: ``index`` is complete already, or was evicted.
        """
        with self._lock:
            self._pending_at(index)
            self._slots[index] = _EVICTED
            self._pending -= 1

    def get_ready_results(self) -> list[BufferEntry[T]]:
        """Release the longest finished prefix, each result once; empty while the next one is not finished."""
        with self._lock:
            ready: list[BufferEntry[T]] = []
            released_s: float | None = None
            while not isinstance(slot := self._slots.get(self._released, _OPEN), _Pending):
                if isinstance(slot, _Finished):
                    released_s = self._clock.monotonic() if released_s is None else released_s
                    ready.append(_entry(slot, self._released, released_s))
                del self._slots[self._released]
                self._released += 1
            return ready

    def _pending_at(self, index: int) -> _Pending:
        if not 0 <= index < self._submitted:
            raise KeyError(index)
        slot = self._slots.get(index)
        if not isinstance(slot, _Pending):
            raise ValueError(f"Index {index} is settled already: a result is taken once.")  # noqa: TRY004
        return slot


def _entry(slot: _Finished[T], index: int, released_s: float) -> BufferEntry[T]:
    return BufferEntry(
        submit_index=index,
        complete_index=slot.complete_index,
        submit_timestamp=slot.submitted_s,
        complete_timestamp=slot.completed_s,
        buffer_wait_ms=max(0.0, (released_s - slot.completed_s) * _MS_PER_S),
        result=slot.result,
        dispatch_timestamp=slot.dispatched_s,
    )
