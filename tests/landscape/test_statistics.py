"""PostgreSQL plans for tables as they are: what a run has filled is looked at before anybody asks about all of it."""

from __future__ import annotations

import pytest

from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.statistics import refresh_statistics
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


def test_a_table_that_grew_much_is_looked_at_and_a_small_one_is_not(
    database: Database, source: ExecutionHandle
) -> None:
    fill(database, 0)
    refresh_statistics(database)
    assert known(database, "payloads") in {None, BODIES}
    assert known(database, "runs") in {None, -1}

    fill(database, BODIES)
    fill(database, 2 * BODIES)
    refresh_statistics(database)
    assert known(database, "payloads") in {
        None,
        2 * BODIES,
        3 * BODIES,
    }  # the daemon may have been here meanwhile
