"""Copying is only a faster way: what it cannot store, the ordinary way stores or refuses, with nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from elspeth_dagster.errors import AuditConflictError, LandscapeUnavailableError
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.copying import COPIED_RECORDS_MIN, copied
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.driver_errors import is_passing
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Record, Unit, statements
from tests.landscape.material import FakeClock, begun, count_of, source_unit

MANY = range(2 * COPIED_RECORDS_MIN)


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, clock=clock)


def commit(database: Database, unit: Unit) -> None:
    with database.write() as connection:
        store(connection, unit)


def bodies(numbers: Sequence[int]) -> Unit:
    """One body for each number, with everything that a text format must escape."""
    unit = Unit()
    for number in numbers:
        unit.insert("payloads", (f"row\t{number}\n\\N", number.to_bytes(4, "big"), bytes(range(256))))
    return unit


def copies(database: Database, unit: Unit, table: str) -> bool:
    """Whether ``table``'s part of the unit was copied."""
    with database.write() as connection:
        return copied(connection, statements(table, database.dialect), unit.inserts[table])


def test_a_page_of_new_records_is_copied_on_postgresql_only(
    database: Database, source: ExecutionHandle
) -> None:
    is_copied = copies(database, source_unit(source, MANY), "row_salts")

    assert is_copied == (database.dialect == "postgresql")
    assert count_of(database, "row_salts") == (len(MANY) if is_copied else 0)


def test_a_few_records_are_not_worth_a_copy(database: Database, source: ExecutionHandle) -> None:
    few = source_unit(source, range(COPIED_RECORDS_MIN - 1))

    assert not copies(database, few, "row_salts")


def test_every_byte_arrives_as_it_left(database: Database) -> None:
    unit = bodies(MANY)

    commit(database, unit)

    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT salt_id, content_hash, body FROM payloads").all()
    assert sorted(tuple(row) for row in found) == sorted(unit.inserts["payloads"])


@pytest.mark.parametrize("known", [0, 7, len(MANY) - 1])
def test_a_record_that_is_there_makes_the_page_go_the_ordinary_way(
    database: Database, source: ExecutionHandle, known: int
) -> None:
    commit(database, source_unit(source, [known]))
    page = source_unit(source, MANY)

    assert not copies(database, page, "rows")
    commit(database, page)

    assert count_of(database, "rows") == len(MANY)


def test_a_page_that_is_refused_leaves_nothing(database: Database, source: ExecutionHandle) -> None:
    unit = source_unit(source, MANY)
    unit.inserts["tokens"] += source_unit(source, [5000]).inserts["tokens"]  # of a row that is not there

    with pytest.raises(AuditConflictError, match="refused a record"):
        commit(database, unit)

    assert [count_of(database, name) for name in ("rows", "tokens", "payloads")] == [0, 0, 0]


def test_a_unit_with_the_same_record_twice_is_stored_once(
    database: Database, source: ExecutionHandle
) -> None:
    unit = source_unit(source, MANY)
    unit.inserts["rows"].append(unit.inserts["rows"][3])

    commit(database, unit)

    assert count_of(database, "rows") == len(MANY)


def test_a_connection_that_breaks_while_copying_is_a_passing_failure(
    database: Database, source: ExecutionHandle
) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has no connection that could break")

    backend = 0

    class Breaking(list[Record]):
        """Its records are asked for once the COPY has begun."""

        def __iter__(self) -> Iterator[Record]:
            with database.engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({backend})")
            return super().__iter__()

    page = Breaking(source_unit(source, MANY).inserts["row_salts"])

    def copy() -> None:
        nonlocal backend
        with database.write() as connection:
            driver: Any = connection.connection.driver_connection
            backend = driver.info.backend_pid
            copied(connection, statements("row_salts", "postgresql"), page)

    with pytest.raises(LandscapeUnavailableError) as caught:
        copy()

    assert is_passing(caught.value.__cause__ or caught.value)
    assert count_of(database, "row_salts") == 0
