"""What other processes do in these tests, and how they are made to do it at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model import ids
from elspeth_dagster.model.clock import SystemClock
from tests.landscape.material import begun, other_run, source_unit

T = TypeVar("T")
PATIENCE_S = 60
UNITS = 500
SHARED = 5

_barrier: list[Barrier] = []


def at_once(count: int, work: Callable[[str, int], T], url: str) -> list[T]:
    """Have ``count`` processes call ``work(url, number)`` at the same moment; returns what they returned."""
    spawn = multiprocessing.get_context("spawn")
    meeting = spawn.Barrier(count)
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_meet_at, initargs=(meeting,)) as processes:
        started = [processes.submit(_meet_and_work, work, url, number) for number in range(count)]
        return [done.result(timeout=PATIENCE_S) for done in started]


def _meet_at(barrier: Barrier) -> None:
    _barrier.append(barrier)


def _meet_and_work(work: Callable[[str, int], T], url: str, number: int) -> T:
    _barrier[0].wait(PATIENCE_S)
    return work(url, number)


def create(url: str, _number: int) -> str | None:
    """Open the database as every process does first."""
    database = Database(url)
    try:
        database.ensure_schema()
        return database.revision()
    finally:
        database.dispose()


def write_rows(url: str, number: int) -> list[str]:
    """Record rows of its own, and the same bodies as the neighbours; returns the ids of the rows."""
    database = Database(url)
    clock = SystemClock()
    run = other_run(f"run-{number:04d}", pipeline=f"pipeline-{number}")
    writer = LandscapeWriter(database, clock=clock)
    try:
        handle = begun(database, clock=clock, run=run)
        tickets = [writer.submit(handle, _unit(handle, index, number)) for index in range(UNITS)]
        for ticket in tickets:
            ticket.result(PATIENCE_S)
    finally:
        writer.close()
        database.dispose()
    return [ids.row_id(handle.run_key, index) for index in range(UNITS)]


def _unit(handle: ExecutionHandle, index: int, number: int) -> Unit:
    """A row, and bodies that every process stores under the same keys, half of them backwards: so they meet."""
    unit = source_unit(handle, [index])
    shared = range(index * SHARED, (index + 1) * SHARED)
    for key in shared if number % 2 else reversed(shared):
        unit.insert("payloads", ("shared", key.to_bytes(4, "big"), b"{}"))
    return unit
