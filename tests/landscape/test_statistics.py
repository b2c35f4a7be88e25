"""PostgreSQL plans for tables as they are: what a run has filled is looked at before anybody asks about all of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.schema import node_executions
from elspeth_dagster.landscape.statistics import ROWS_MIN, refresh_statistics
from tests.landscape.material import FakeClock, begun

BODIES = 3_000


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, clock=clock)


def fill(database: Database, start: int) -> None:
    unit = Unit()
    for number in range(start, start + BODIES):
        unit.insert("payloads", (f"row-{number}", number.to_bytes(4, "big"), bytes(1_000)))
    with database.write() as connection:
        store(connection, unit)


def known(database: Database, table: str) -> float | None:
    """How many records PostgreSQL's planner thinks there are; less than none: it never looked."""
    if database.dialect != "postgresql":
        return None
    with database.read() as connection:
        question = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
        return float(connection.exec_driver_sql(question, (table,)).scalar_one())


def ended(source: ExecutionHandle, database: Database, *, rows: int) -> None:
    with database.write() as connection:
        connection.execute(
            sa.update(node_executions)
            .where(node_executions.c.execution_id == source.execution_id)
            .values(rows_in=rows, status="completed", completed_at=source.started_at)
        )


def test_a_large_runs_tables_are_looked_at_and_small_tables_are_not(
    database: Database, source: ExecutionHandle
) -> None:
    fill(database, 0)
    ended(source, database, rows=ROWS_MIN)
    small = known(database, "runs")
    refresh_statistics(database, source.run_id)
    assert known(database, "payloads") in {None, BODIES}
    assert known(database, "runs") == small

    fill(database, BODIES)
    refresh_statistics(database, source.run_id)
    assert known(database, "payloads") in {None, 2 * BODIES}


def test_after_a_small_run_nothing_is_looked_at(database: Database, source: ExecutionHandle) -> None:
    ended(source, database, rows=ROWS_MIN - 1)
    fill(database, 0)
    before = known(database, "payloads")

    refresh_statistics(database, source.run_id)

    # The server's own daemon may have been here meanwhile.
    assert known(database, "payloads") in {before, BODIES}
