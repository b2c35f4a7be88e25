"""One batch: its rows on their way, its results in order, its counters. State only; the dispatcher decides."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling.reorder import BufferEntry, ReorderBuffer
from elspeth_dagster.pooling.rows import RowContext, is_async
from elspeth_dagster.pooling.stats import BatchCounters

Entry = BufferEntry[RowResult[object]]


@dataclass(eq=False, slots=True)
class Job:
    """One row's way through the pool.

    Times ending in ``_s`` are the loop's; ``dispatched`` is the clock's, of the first try. ``tries`` counts those
    that failed.
    """

    batch: Batch
    context: RowContext[object]
    index: int
    sent_s: float = 0.0
    first_sent_s: float = 0.0
    dispatched: float | None = None
    tries: int = 0
    transient_tries: int = 0
    failed_s: float = 0.0
    is_due: bool = False
    cancel: Callable[[], object] | None = None
    alarms: list[asyncio.TimerHandle] = field(default_factory=list)

    def quiet(self) -> None:
        """Forget the wake-ups that were set for this row."""
        for alarm in self.alarms:
            alarm.cancel()
        self.alarms.clear()


class Batch:
    """The rows of one call to the pool, from submission to release.

    The caller's thread feeds (``submit``, ``close_input``) and takes from ``outbox``; everything else belongs to
    the loop. ``stopping`` may be set from any thread: no call of this batch starts once it is true.
    ``notify`` is called on the loop whenever the outbox grew or the batch settled.
    """

    def __init__(
        self,
        process_fn: Callable[[object, str], object],
        *,
        clock: Clock,
        notify: Callable[[], None],
    ) -> None:
        self.process_fn = process_fn
        self.runs_on_loop = is_async(process_fn)
        self.context = contextvars.copy_context()
        self.notify = notify
        self.counters = BatchCounters()
        self.buffer: ReorderBuffer[RowResult[object]] = ReorderBuffer(clock=clock)
        self.outbox: deque[Entry] = deque()
        self.running: set[Job] = set()
        self.waiting: set[Job] = set()
        self.input_closed = False
        self.stopping = False
        self.settled = False
        self.error: BaseException | None = None
        self.enrolled = False
        self.wake_pending = False
        self.drain_alarm: asyncio.TimerHandle | None = None
        self._fresh: deque[Job] = deque()
        self._due: list[tuple[int, Job]] = []

    @property
    def pending(self) -> int:
        """What keeps the batch from being settled once nothing more comes in."""
        return self.buffer.pending

    def submit(self, context: RowContext[object]) -> None:
        """Take one row in; the dispatcher must be woken after it."""
        self.enqueue((self.job_of(context),))

    def job_of(self, context: RowContext[object]) -> Job:
        """A job with the next index, which is to be enqueued."""
        return Job(self, context, self.buffer.submit())

    def enqueue(self, jobs: Iterable[Job]) -> None:
        """Put jobs at the end of the queue, in the order of their indices."""
        self._fresh.extend(jobs)

    def has_ready(self) -> bool:
        """Whether a row could be sent now."""
        while self._due and self._due[0][1] not in self.waiting:
            heapq.heappop(self._due)  # its budget was spent before its turn came
        return bool(self._due or self._fresh)

    def take_ready(self) -> Job:
        """The row to send next, where ``has_ready``: the earliest that is due again, else the next fresh one."""
        if not self._due:
            return self._fresh.popleft()
        job = heapq.heappop(self._due)[1]
        self.waiting.discard(job)
        return job

    def make_due(self, job: Job) -> None:
        """Put a rejected row at the head of the queue."""
        heapq.heappush(self._due, (job.index, job))

    def complete(self, job: Job, result: RowResult[object], *, completed_s: float | None = None) -> None:
        """Store a row's result and release what it held up; ``completed_s`` is the clock's (default: now)."""
        self.waiting.discard(job)
        self.buffer.complete(job.index, result, completed_s=completed_s, dispatched_s=job.dispatched)
        self.ended(job, is_given_up=False)
        self.release()

    def give_up(self, job: Job) -> None:
        """Release nothing for this row; what follows it is not held up."""
        job.quiet()
        self.waiting.discard(job)
        self.buffer.evict(job.index)
        self.ended(job, is_given_up=True)

    def give_up_unsent(self) -> None:
        """Give up every row that is not in flight."""
        self._due.clear()
        for job in tuple(self.waiting):
            self.give_up(job)
        while self._fresh:
            self.give_up(self._fresh.popleft())
        self.release()

    def ended(self, job: Job, *, is_given_up: bool) -> None:
        """Told of each job once, before what it held up is released; for batches whose rows make several calls."""

    def release(self) -> None:
        """Hand the finished prefix to the caller."""
        ready = self.buffer.get_ready_results()
        if ready:
            self.outbox.extend(ready)
            self.notify()
