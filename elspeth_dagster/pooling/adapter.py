"""Routes the results of an asynchronous transform back to whoever waits for them.

One adapter for each transform, one waiter for each attempt at a row. Leaves the work to the transform, and order to
the callers: each waits for its own row only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypedDict, TypeVar

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.model.clock import Clock, SystemClock
from elspeth_dagster.pooling.engine import SLICE_S

T = TypeVar("T")

WAIT_S = 300.0
"""How long a waiter waits unless told: longer than any provider lets a request hang."""

Key = tuple[str, str | None]


class HasTokenId(Protocol):
    """A token, as far as an adapter needs to know one."""

    @property
    def token_id(self) -> str:
        """Names the token."""
        ...


class AdapterMetrics(TypedDict):
    """What an adapter has done; plain JSON.

    registered = delivered + timed out + cancelled (by ``clear`` or ``cancel``) + waiting. ``dropped_late`` counts
    results that came for nobody, or after the first, or when the waiter's time was over.
    """

    registered: int
    delivered: int
    dropped_late: int
    timed_out: int
    cancelled: int
    waiting: int


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    value: T | BaseException


@dataclass(eq=False, slots=True)
class _Slot(Generic[T]):
    """Where one waiter's answer is put. ``come`` is set when there is nothing to wait for any more."""

    answer: _Answer[T] | None = None
    come: threading.Event = field(default_factory=threading.Event)
    is_cleared: bool = False
    is_over: bool = False


class RowWaiter(Generic[T]):
    """Waits for the result of one attempt at one row. Made by ``SharedBatchAdapter.register``."""

    def __init__(self, key: Key, *, wait: Callable[[float], T], cancel: Callable[[], None]) -> None:
        self.token_id, self.state_id = key
        self._wait = wait
        self._cancel = cancel

    def wait(self, timeout: float = WAIT_S) -> T:
        """Wait for the result; it is given once. An exception raised in this thread comes out at once.

        Raises:
            TimeoutError: none came within ``timeout`` seconds; one that comes later is dropped.
            NodeStoppedError: the adapter was cleared.
            RuntimeError: this waiter has ended before.
            BaseException: what the worker raised, with its own type.
        """
        return self._wait(timeout)

    def cancel(self) -> None:
        """Nobody will wait: a result that comes is dropped. Does nothing once the waiter has ended."""
        self._cancel()


class SharedBatchAdapter(Generic[T]):
    """Gives each result to the waiter that registered for its token and state, and to no other.

    Register first, then hand the row to the transform: a result for which nobody is registered is dropped, so an
    attempt never receives the answer of an earlier one. A result may come before its waiter waits; of several, the
    first counts. Without state ids, attempts at one token cannot be told apart. One lock owns all of it.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._slots: dict[Key, _Slot[T]] = {}
        self._registered = 0
        self._delivered = 0
        self._dropped_late = 0
        self._timed_out = 0
        self._cancelled = 0

    def register(self, token_id: str, state_id: str | None = None) -> RowWaiter[T]:
        """Have the result of this token and state kept until it is waited for.

        Raises:
            ValueError: somebody is registered for it already.
        """
        key, slot = (token_id, state_id), _Slot[T]()
        with self._lock:
            if key in self._slots:
                raise ValueError(f"{_named(key)} is waited for already: one waiter for each attempt.")
            self._slots[key] = slot
            self._registered += 1
        return RowWaiter(
            key, wait=partial(self._wait_for, key, slot), cancel=partial(self._cancel, key, slot)
        )

    def emit(self, token: str | HasTokenId, result: T | BaseException, state_id: str | None = None) -> None:
        """Deliver ``result``; an exception is raised in the waiter. Dropped if nobody is registered for it."""
        key = (token if isinstance(token, str) else token.token_id, state_id)
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.answer is not None:
                self._dropped_late += 1
                return
            slot.answer = _Answer(result)
            slot.come.set()

    def clear(self, error: BaseException | None = None) -> None:
        """End all waiters that have no result yet with ``error`` (default: ``NodeStoppedError``).

        The adapter forgets everything and can be used again; a result that had come is still given to its waiter.
        """
        with self._lock:
            for key, slot in self._slots.items():
                if slot.answer is None:
                    slot.answer, slot.is_cleared = _Answer(error or _cleared_error(key)), True
                    self._cancelled += 1
                    slot.come.set()
            self._slots.clear()

    def get_metrics(self) -> AdapterMetrics:
        """The counts of one instant."""
        with self._lock:
            ended = self._delivered + self._timed_out + self._cancelled
            return AdapterMetrics(
                registered=self._registered,
                delivered=self._delivered,
                dropped_late=self._dropped_late,
                timed_out=self._timed_out,
                cancelled=self._cancelled,
                waiting=self._registered - ended,
            )

    def _wait_for(self, key: Key, slot: _Slot[T], timeout_s: float) -> T:
        try:
            in_time = self._comes(slot, timeout_s)
        except BaseException:
            self._cancel(key, slot)  # the thread was told to do something else: nobody waits any more
            raise
        answer = self._take(key, slot, in_time=in_time)
        if answer is None:
            raise TimeoutError(f"No result of {_named(key)} within {timeout_s:g} s.")
        if isinstance(answer.value, BaseException):
            raise answer.value
        return answer.value

    def _comes(self, slot: _Slot[T], timeout_s: float) -> bool:
        """Wait in slices for an answer; whether it came in time."""
        deadline_s = self._clock.monotonic() + timeout_s
        while not slot.come.is_set():
            left_s = deadline_s - self._clock.monotonic()
            if left_s <= 0:
                return False
            slot.come.wait(min(SLICE_S, left_s))
        return True

    def _take(self, key: Key, slot: _Slot[T], *, in_time: bool) -> _Answer[T] | None:
        """End the waiter; its answer, None where its time was over first, whatever came since."""
        with self._lock:
            if slot.is_over:
                raise RuntimeError(f"The waiter of {_named(key)} has ended: a result is given once.")
            slot.is_over = True
            slot.come.set()
            if slot.is_cleared:
                return slot.answer
            self._forget(key, slot)
            if in_time:
                self._delivered += 1
                return slot.answer
            self._timed_out += 1
            self._dropped_late += slot.answer is not None
            return None

    def _cancel(self, key: Key, slot: _Slot[T]) -> None:
        with self._lock:
            if slot.is_over or slot.is_cleared:
                return
            slot.is_over = True
            slot.come.set()
            self._forget(key, slot)
            self._cancelled += 1
            self._dropped_late += slot.answer is not None

    def _forget(self, key: Key, slot: _Slot[T]) -> None:
        if self._slots.get(key) is slot:  # after a clear somebody else may have registered
            del self._slots[key]


def _named(key: Key) -> str:
    token_id, state_id = key
    return f"token {token_id!r}" + ("" if state_id is None else f", state {state_id!r}")


def _cleared_error(key: Key) -> NodeStoppedError:
    return NodeStoppedError(
        "The transform ended before this row was answered.", code="adapter_cleared", where=_named(key)
    )
