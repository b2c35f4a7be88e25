"""Several processes on one Landscape at once: nobody fails, and nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from tests.landscape.children import SHARED, UNITS, at_once, create, write_rows
from tests.landscape.material import count_of
from tests.landscape.test_schema import described

WRITERS = {"sqlite": 4, "postgresql": 8}
MANY_WRITERS = {"sqlite": 8, "postgresql": 16}


def test_processes_that_create_one_database_at_once_all_find_it_whole(empty_url: str) -> None:
    found = at_once(4, create, empty_url)

    assert found == [schema.REVISION] * 4
    database = Database(empty_url)
    assert set(described(database)) == set(schema.metadata.tables)
    database.dispose()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize(
    "writers", [WRITERS, pytest.param(MANY_WRITERS, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_processes_that_write_at_once_lose_nothing(
    backend: str, url: str, writers: Mapping[str, int]
) -> None:
    """No lock and no deadlock reaches anybody: a process that met one would fail here."""
    wrote = at_once(writers[backend], write_rows, url)

    database = Database(url)
    expected = sorted(row_id for row_ids in wrote for row_id in row_ids)
    for table, key in (("rows", "row_id"), ("tokens", "token_id"), ("row_salts", "salt_id")):
        column = schema.metadata.tables[table].columns[key]
        with database.read() as connection:
            assert connection.execute(sa.select(column).order_by(column)).scalars().all() == expected
    assert count_of(database, "payloads") == len(expected) + UNITS * SHARED
    assert count_of(database, "node_executions") == writers[backend]
    if backend == "postgresql":
        with database.read() as connection:
            query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            assert connection.exec_driver_sql(query).scalar_one() == 0
    database.dispose()
