"""Holds the rows whose last try failed, until they may be tried again or their budget is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.pooling.batch import Job
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.failures import FailureKind
from elspeth_dagster.pooling.retry import Failure, backoff_s, given_up


class WaitingRoom:
    """Belongs to the loop. A row in here holds no slot.

    ``due`` is called when a row may be sent again, ``spent`` with its error result when it may not any more.
    A row that is due but not sent yet still ends when its budget does.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        loop: asyncio.AbstractEventLoop,
        jitter: Callable[[], float],
        due: Callable[[Job], None],
        spent: Callable[[Job, Rejected], None],
    ) -> None:
        self._config = config
        self._loop = loop
        self._jitter = jitter
        self._due = due
        self._spent = spent

    def admit(self, job: Job, failure: Failure, *, backs_off: bool) -> None:
        """Take a row in after ``failure``; ``backs_off``: wait longer after each, as the pace does not slow down.

        A wait that the server asked for is kept to its last instant, so one that reaches beyond the budget ends
        the row when the budget ends, without another try.
        """
        now_s = self._loop.time()
        job.failed_s, job.is_due = now_s, False
        job.tries += 1
        if failure.kind is FailureKind.TRANSIENT:
            job.transient_tries += 1
        deadline_s = job.first_sent_s + self._config.max_capacity_retry_seconds
        if job.transient_tries >= self._config.transient_attempts or now_s >= deadline_s:
            self._spend(job, failure)
            return
        job.batch.waiting.add(job)
        job.alarms.append(self._loop.call_at(deadline_s, self._spend, job, failure))
        wait_s = failure.after_s or 0.0
        if backs_off or failure.kind is FailureKind.TRANSIENT:
            wait_s = max(wait_s, backoff_s(job.tries, factor=self._jitter()))
        if now_s + wait_s < deadline_s:
            self._call_back(job, now_s + wait_s)

    def _call_back(self, job: Job, at_s: float) -> None:
        # Timers may fire a hair early, and a wait that a server named is never cut.
        if at_s > self._loop.time():
            job.alarms.append(self._loop.call_at(at_s, self._call_back, job, at_s))
            return
        job.is_due = True
        job.batch.counters.throttle_s += self._loop.time() - job.failed_s
        job.batch.make_due(job)
        self._due(job)

    def _spend(self, job: Job, failure: Failure) -> None:
        job.quiet()
        now_s = self._loop.time()
        if not job.is_due:
            job.batch.counters.throttle_s += now_s - job.failed_s
        result = given_up(
            failure,
            tries=job.transient_tries,
            elapsed_s=now_s - job.first_sent_s,
            budget_s=self._config.max_capacity_retry_seconds,
        )
        self._spent(job, result)
