"""The one thread of a process that writes to the Landscape, in groups.

Others hand it units of records and get a ticket: a future that is done when the unit is durable. What queues up while
a commit runs becomes the next group. Each group belongs to one execution and checks, inside its transaction, that this
execution still holds its fence. A group that met a lock or a lost connection is committed again, whole; what comes
meanwhile queues, and as no ticket is done, no call leaves. Nothing is dropped: a commit that fails for good fails the
tickets, and every later unit of that execution with the same error.

`_queue` is the only shared state, and `_door` makes sure that nothing is put into it once it is closed; the thread
owns the rest.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Final

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import heartbeat
from elspeth_dagster.landscape.commit import check_fence, store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.driver_errors import is_passing
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.patience import AWAY_S_MAX, persist
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.tickets import LoopTicket, Ticket, loop_ticket, settle, thread_ticket
from elspeth_dagster.model.clock import Clock

GROUP_RECORDS_MAX: Final = 500  # enough to spread one fsync thin, little enough to keep a caller's wait short


@dataclass(frozen=True, slots=True)
class _Job:
    execution: ExecutionHandle
    unit: Unit
    ticket: Ticket | LoopTicket


class LandscapeWriter:
    """Commits units of records in groups, in the order they came."""

    def __init__(self, database: Database, *, clock: Clock, patience_s: float = AWAY_S_MAX) -> None:
        self._database = database
        self._clock = clock
        self._patience_s = patience_s
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._door = threading.Lock()
        self._watched: ExecutionHandle | None = None
        self._thread = threading.Thread(target=self._run, name="landscape-writer", daemon=True)
        self._thread.start()

    def submit(self, execution: ExecutionHandle, unit: Unit) -> Ticket:
        """Queue ``unit``; the ticket is done when it is durable, or carries the error."""
        ticket = thread_ticket()
        self._put(_Job(execution, unit, ticket))
        return ticket

    def submit_in_loop(self, execution: ExecutionHandle, unit: Unit) -> LoopTicket:
        """As ``submit``, for the running event loop: the ticket is awaited there."""
        ticket = loop_ticket()
        self._put(_Job(execution, unit, ticket))
        return ticket

    def write(self, execution: ExecutionHandle, unit: Unit) -> None:
        """Queue ``unit`` and wait until it is durable.

        Raises:
            LandscapeError: it could not be written.
        """
        self.submit(execution, unit).result()

    def watch(self, execution: ExecutionHandle | None) -> None:
        """Keep this execution's heartbeat and progress fresh while nothing is written; None: no longer."""
        self._watched = execution

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        with self._door:
            self._closing.set()
            self._queue.put(None)
        self._thread.join()

    def _put(self, job: _Job) -> None:
        with self._door:
            if self._closing.is_set():
                raise LandscapeError(
                    "The Landscape's writer is closed.",
                    where=f"execution {job.execution.execution_id}",
                    hint="nothing was stored; run the node while its Landscape is open",
                )
            self._queue.put(job)

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        held: _Job | None = None
        while True:
            first = held or self._next()
            held = None
            if first is None:
                if self._closing.is_set() and self._queue.empty():
                    return
                self._beat_idle()
                continue
            group, held = self._group(first)
            self._commit(group)

    def _next(self) -> _Job | None:
        try:
            return self._queue.get(timeout=0 if self._closing.is_set() else heartbeat.PROGRESS_S)
        except queue.Empty:
            return None

    def _group(self, first: _Job) -> tuple[list[_Job], _Job | None]:
        """What is queued already for the same execution; and the job that did not fit, if one was taken."""
        group, records = [first], len(first.unit)
        while records < GROUP_RECORDS_MAX:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                break
            if job.execution is not first.execution:
                return group, job
            group.append(job)
            records += len(job.unit)
        return group, None

    def _commit(self, group: list[_Job]) -> None:
        execution = group[0].execution
        unit = group[0].unit
        if len(group) > 1:
            unit = Unit()
            for job in group:
                unit.absorb(job.unit)
        if execution.failure is None:
            execution.tables.update(unit.inserts, unit.closings)
            try:
                self._commit_with_retries(execution, unit)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the tickets
                execution.failure = error
        settle((job.ticket for job in group), execution.failure)

    def _commit_with_retries(self, execution: ExecutionHandle, unit: Unit) -> None:
        persist(lambda: self._commit_once(execution, unit), clock=self._clock, patience_s=self._patience_s)

    def _commit_once(self, execution: ExecutionHandle, unit: Unit) -> None:
        with self._database.write() as connection:
            check_fence(connection, execution)
            store(connection, unit)
            if heartbeat.is_due(execution, self._clock):
                heartbeat.beat(connection, execution, self._clock)

    def _beat_idle(self) -> None:
        execution = self._watched
        if execution is None or execution.failure is not None or not heartbeat.is_due(execution, self._clock):
            return
        try:
            with self._database.write() as connection:
                check_fence(connection, execution)
                heartbeat.beat(connection, execution, self._clock)
        except Exception as error:  # noqa: BLE001 - told to whoever writes next; the thread goes on
            if not is_passing(error.__cause__ or error):
                execution.failure = error
