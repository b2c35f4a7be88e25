"""Decides which row is sent next, and when: the gate that every call of a pool passes, first tries and retries alike.

Everything here runs on one event loop, which is what owns the state; ``wake`` and ``stop`` may be called from any
thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.result import Rejected, RowResult
from elspeth_dagster.pooling.batch import Batch, Job
from elspeth_dagster.pooling.calls import Caller, Ending
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.controller import Controller
from elspeth_dagster.pooling.failures import FailureKind, headers_of, kind_of
from elspeth_dagster.pooling.gate import Gate
from elspeth_dagster.pooling.retry import Failure
from elspeth_dagster.pooling.retry_after import retry_after_s
from elspeth_dagster.pooling.waiting import WaitingRoom


class Dispatcher:
    """Sends the rows of all batches of one pool: at most ``pool_size`` at once, at the controller's pace.

    Batches take turns, one row each. A rejected row gives its slot back while it waits and goes before its batch's
    fresh rows when it is due. ``drain_s`` is what a stopped batch's calls in flight get before they are cancelled.
    """

    def __init__(
        self,
        config: PoolConfig,
        controller: Controller,
        *,
        loop: asyncio.AbstractEventLoop,
        caller: Caller,
        clock: Clock,
        jitter: Callable[[], float],
        drain_s: float,
    ) -> None:
        self._config = config
        self._controller = controller
        self._loop = loop
        self._caller = caller
        self._clock = clock
        self._drain_s = drain_s
        self._waiting = WaitingRoom(config, loop=loop, jitter=jitter, due=self._due, spent=self._spent)
        self._active: set[Batch] = set()
        self._ring: deque[Batch] = deque()
        self._in_flight = 0
        self.limit = config.pool_size
        self._gate = Gate(controller, loop=loop, look_again=self._pump)
        self._stopped_by: BaseException | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        """Whether no batch is under way and nothing is in flight."""
        return not self._active and self._in_flight == 0

    @property
    def has_ended(self) -> bool:
        """Whether the loop is gone: nothing is sent and nothing is answered any more."""
        return self._loop.is_closed()

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._in_flight

    # From any thread

    def wake(self, batch: Batch) -> None:
        """Look at ``batch`` soon: it has new rows, no more rows, or was told to stop."""
        if not batch.wake_pending:
            batch.wake_pending = True
            with suppress(RuntimeError):  # the loop is closed: nothing of this batch can run any more
                self._loop.call_soon_threadsafe(self._attend, batch)

    def set_limit(self, calls: int) -> None:
        """Have at most ``calls`` in flight from now on, never more than ``pool_size``; what is in flight goes on."""
        self.limit = min(calls, self._config.pool_size)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._pump)

    def stop(self, error: BaseException) -> None:
        """Send nothing any more; every batch, later ones too, ends with ``error``."""
        self._stopped_by = error  # the gate is shut from here on
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._halt_all, error)

    # On the loop

    async def wait_until_quiet(self, *, timeout_s: float) -> bool:
        """Wait until nothing is in flight; whether that came about in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        return self._in_flight == 0

    def _attend(self, batch: Batch) -> None:
        batch.wake_pending = False
        if batch.settled:
            batch.give_up_unsent()
            return
        self._active.add(batch)
        if self._stopped_by is not None:
            self._halt(batch, self._stopped_by)
        elif batch.stopping:
            self._halt(batch, None)
        else:
            batch.release()  # a row that makes no call waits for nothing but its turn
            if not self._settled(batch):
                self._enroll(batch)
                self._pump()

    def _halt_all(self, error: BaseException) -> None:
        for batch in tuple(self._active):
            self._halt(batch, error)

    def _enroll(self, batch: Batch) -> None:
        if not batch.enrolled and batch.has_ready():
            batch.enrolled = True
            self._ring.append(batch)

    def _pump(self) -> None:
        """Send all that may be sent now."""
        try:
            while (batch := self._next_batch()) is not None and self._may_send():
                self._ring.rotate(-1)
                self._send(batch.take_ready())
        except Exception as error:  # noqa: BLE001 - a broken controller must not leave callers waiting for ever
            self._halt_all(error)

    def _next_batch(self) -> Batch | None:
        while self._ring:
            batch = self._ring[0]
            if batch.has_ready() and not batch.stopping:
                return batch
            batch.enrolled = False
            self._ring.popleft()
        self._gate.nobody_waits()
        return None

    def _may_send(self) -> bool:
        if self._stopped_by is not None or self._in_flight >= self.limit:
            self._gate.nobody_waits()
            return False
        return self._gate.is_open(self._in_flight)

    def _send(self, job: Job) -> None:
        batch, counters, now_s = job.batch, job.batch.counters, self._loop.time()
        job.quiet()
        job.sent_s = now_s
        if job.dispatched is None:
            job.first_sent_s, job.dispatched = now_s, self._clock.monotonic()
        counters.throttle_s += self._gate.let_go(now_s)
        self._controller.sent(now_s)
        self._in_flight += 1
        self._idle.clear()
        batch.running.add(job)
        counters.max_concurrent = max(counters.max_concurrent, len(batch.running))
        counters.peak_delay_ms = max(counters.peak_delay_ms, self._controller.delay_ms)
        job.cancel = self._caller.start(job, self._ended)

    def _ended(self, job: Job, ending: Ending) -> None:
        """A call is over: its slot is free, its row is done, waits, or stops the batch."""
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()
        batch = job.batch
        wanted = job in batch.running  # else its time to drain was over, and its row was given up
        batch.running.discard(job)
        try:
            if ending.result is not None:
                self._answered(job, ending, ending.result, wanted=wanted)
            elif ending.error is not None:
                self._failed(job, ending, ending.error, wanted=wanted)
            elif wanted:
                batch.give_up(job)
                batch.release()
        except Exception as error:  # noqa: BLE001 - a broken controller must not leave callers waiting for ever
            with suppress(ValueError):  # its result is stored already
                batch.give_up(job)
            self._halt(batch, error)
        if batch.stopping and not batch.settled:
            self._halt(batch, None)
        self._settled(batch)
        self._pump()

    def _answered(self, job: Job, ending: Ending, result: RowResult[object], *, wanted: bool) -> None:
        self._controller.succeeded(self._loop.time(), job.sent_s, ending.headers)
        if wanted:
            job.batch.counters.successes += 1
            job.batch.complete(job, result, completed_s=ending.completed_s)

    def _failed(self, job: Job, ending: Ending, error: BaseException, *, wanted: bool) -> None:
        kind, batch, now_s = kind_of(error), job.batch, self._loop.time()
        if kind is FailureKind.AGAIN:
            self._controller.succeeded(now_s, job.sent_s, ending.headers)
            if not wanted:
                return
            if batch.stopping:
                batch.give_up(job)
            else:
                batch.waiting.add(job)
                batch.make_due(job)
                self._enroll(batch)
            return
        headers = headers_of(error) or ending.headers
        after_s = retry_after_s(headers, now=self._clock.now())
        if kind is FailureKind.CAPACITY:
            self._controller.rejected(now_s, job.sent_s, after_s, headers)
            self._note_delay()
            batch.counters.capacity_retries += 1
        else:
            self._controller.dropped(now_s, job.sent_s)
        if not wanted:
            return
        if kind is FailureKind.BUG:
            batch.give_up(job)
            self._halt(batch, error)
        elif batch.stopping:
            batch.give_up(job)
        else:
            self._waiting.admit(job, Failure(error, kind, after_s), backs_off=not self._controller.slows_down)

    def _due(self, job: Job) -> None:
        self._enroll(job.batch)
        self._pump()

    def _spent(self, job: Job, result: Rejected) -> None:
        job.batch.complete(job, result)
        self._settled(job.batch)

    def _note_delay(self) -> None:
        """Keep each batch's longest delay; it grows at rejections, whichever batch's."""
        for batch in self._active:
            batch.counters.peak_delay_ms = max(batch.counters.peak_delay_ms, self._controller.delay_ms)

    def _halt(self, batch: Batch, error: BaseException | None) -> None:
        """Send nothing of ``batch`` any more; what is in flight gets ``drain_s``."""
        batch.stopping = True
        if batch.error is None:
            batch.error = error
        batch.give_up_unsent()
        if batch.running and batch.drain_alarm is None:
            batch.drain_alarm = self._loop.call_later(self._drain_s, self._cancel_running, batch)
        self._settled(batch)

    def _cancel_running(self, batch: Batch) -> None:
        """Give up what is in flight; a slot is free again when its call has really ended."""
        for job in tuple(batch.running):
            batch.running.discard(job)
            batch.give_up(job)
            if job.cancel is not None:
                job.cancel()
        batch.release()
        self._settled(batch)

    def _settled(self, batch: Batch) -> bool:
        """Whether nothing more will come of ``batch``; tells the caller once."""
        if batch.settled:
            return True
        if batch.pending or not (batch.input_closed or batch.stopping):
            return False
        if batch.drain_alarm is not None:
            batch.drain_alarm.cancel()
        self._active.discard(batch)
        batch.counters.delay_at_completion_ms = self._controller.delay_ms
        batch.settled = True
        batch.notify()
        return True
