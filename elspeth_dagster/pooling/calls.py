"""Runs one call of a process function, on the loop or in a thread, and says how it ended. Never raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.pooling.batch import Job
from elspeth_dagster.pooling.failures import FailureKind, kind_of
from elspeth_dagster.pooling.headers import HeaderCell, open_cell


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended: with a result, an error, or neither (it never started). ``completed_s`` is the clock's."""

    result: RowResult[object] | None = None
    error: BaseException | None = None
    completed_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


NEVER_STARTED = Ending()

Ended = Callable[[Job, Ending], None]


class Caller:
    """Starts calls. ``threads`` makes the executor for plain functions when the first one comes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, clock: Clock, threads: Callable[[], Executor]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._threads = threads

    def start(self, job: Job, ended: Ended) -> Callable[[], object] | None:
        """Start the call of ``job``; ``ended`` is called on the loop. Returns how to cancel it, if that is possible."""
        context = job.batch.context.copy()
        if job.batch.runs_on_loop:
            task = self._loop.create_task(self._on_loop(job), context=context)
            task.add_done_callback(partial(_task_done, job, ended))
            return task.cancel
        self._threads().submit(context.run, self._in_thread, job, ended)
        return None

    async def _on_loop(self, job: Job) -> Ending:
        if job.batch.stopping:
            return NEVER_STARTED
        cell = open_cell()
        try:
            answer = cast("Awaitable[object]", job.batch.process_fn(job.context.row, job.context.state_id))
            result = _checked(await answer)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the caller's to see
            return self._failed(job, error, cell)
        return Ending(result, None, self._clock.monotonic(), cell.headers)

    def _in_thread(self, job: Job, ended: Ended) -> None:
        ending = self._called(job)
        # A call that outlived its pool has nobody to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(ended, job, ending)

    def _called(self, job: Job) -> Ending:
        if job.batch.stopping:
            return NEVER_STARTED
        cell = open_cell()
        try:
            result = _checked(job.batch.process_fn(job.context.row, job.context.state_id))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the caller's to see
            return self._failed(job, error, cell)
        return Ending(result, None, self._clock.monotonic(), cell.headers)

    def _failed(self, job: Job, error: BaseException, cell: HeaderCell) -> Ending:
        if kind_of(error) is FailureKind.BUG:
            # Here and not on the loop: calls that are about to start in other threads must see it at once.
            job.batch.stopping = True
        return Ending(None, error, self._clock.monotonic(), cell.headers)


def _task_done(job: Job, ended: Ended, task: asyncio.Task[Ending]) -> None:
    ended(job, NEVER_STARTED if task.cancelled() else task.result())


def _checked(result: object) -> RowResult[object]:
    if isinstance(result, Succeeded | Rejected):
        return result
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("process_fn returned a coroutine from a plain function: declare it with async def.")
    raise TypeError(f"process_fn must return Succeeded or Rejected, not {type(result).__name__}.")
