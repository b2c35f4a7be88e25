"""The records of one Landscape once more, into an empty one with the same tables, indexes, triggers and foreign keys.

With plain executemany, a transaction for each page of records; or through the writer, which checks the fence in each
transaction and counts what was new. Both get the records ready made, so the time is that of storing them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Record, Unit
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import SystemClock

PAGE_RECORDS: Final = 3_000  # what a step hands over at a time

_FRAME: Final = ("runs", "run_attempts", "nodes", "edges", "node_executions", "fences")
"""What the records refer to: copied first, and not counted."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How long storing ``records`` took, the way ``how`` says."""

    how: str
    records: int
    seconds: float


def copied(source: str, target: str, *, how: Literal["executemany", "writer"]) -> Copied:
    """Copy every record of ``source`` into the empty database ``target``; reading is not counted."""
    old, new = Database(source), Database(target)
    try:
        new.ensure_schema()
        for name in _FRAME:
            for page in _pages(old, schema.metadata.tables[name]):
                _insert(new, schema.metadata.tables[name], page)
        store = _bare(new) if how == "executemany" else _through_writer(new)
        next(store)
        records, seconds = 0, 0.0
        for table in schema.metadata.sorted_tables:
            if table.name in _FRAME or table in schema.OPERATIONAL or table is schema.seals:
                continue
            for page in _pages(old, table):
                began_s = time.perf_counter()
                store.send((table, page))
                seconds += time.perf_counter() - began_s
                records += len(page)
        began_s = time.perf_counter()
        store.close()
        return Copied(how, records, seconds + time.perf_counter() - began_s)
    finally:
        old.dispose()
        new.dispose()


Store = Iterator[Any]


def _bare(database: Database) -> Any:
    with database.engine.connect() as connection:
        while True:
            table, page = yield
            _insert(database, table, page, connection=connection)


def _through_writer(database: Database) -> Any:
    """Waits until each page is durable: a step goes on meanwhile, but then its reading would hide the storing."""
    writer = LandscapeWriter(database, clock=SystemClock())
    handle = _holder(database)
    try:
        while True:
            table, page = yield
            writer.write(handle, Unit(inserts={table.name: page}))
    finally:
        writer.close()


def _holder(database: Database) -> ExecutionHandle:
    """Whoever holds one of the copied fences."""
    with database.read() as connection:
        fence = connection.execute(sa.select(schema.fences)).first()
    assert fence is not None  # noqa: S101 - a run leaves the fences of its nodes
    return ExecutionHandle(
        execution_id=fence.execution_id,
        run_id=fence.run_id,
        run_key="",
        node_id=fence.node_id,
        attempt=1,
        pipeline="",
        partition_key=None,
        dagster_run_id=fence.dagster_run_id,
        started_at=fence.heartbeat_at,
    )


def _insert(
    database: Database, table: sa.Table, page: list[Record], *, connection: sa.Connection | None = None
) -> None:
    mark = "?" if database.dialect == "sqlite" else "%s"
    marks = ", ".join([mark] * len(table.columns))
    statement = f"INSERT INTO {table.name} VALUES ({marks})"  # noqa: S608 - our own names
    if connection is None:
        with database.write() as own:
            own.exec_driver_sql(statement, page)
        return
    with connection.begin():
        connection.exec_driver_sql(statement, page)


def _pages(database: Database, table: sa.Table) -> Iterator[list[Record]]:
    """The table's records in the order of their key, as they are stored."""
    columns = ", ".join(column.name for column in table.columns)
    keys = ", ".join(column.name for column in table.primary_key.columns)
    with database.read() as connection:
        found = connection.execution_options(yield_per=PAGE_RECORDS).exec_driver_sql(
            f"SELECT {columns} FROM {table.name} ORDER BY {keys}"  # noqa: S608 - our own names
        )
        for page in found.partitions(PAGE_RECORDS):
            yield [tuple(row) for row in page]
