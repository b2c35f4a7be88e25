"""Evidence is write-once: the database itself refuses every change but the one step that closes an open record."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.records import Cell
from tests.landscape.material import NOW, RUN_ID, SALT, Specimen, count_of, specimens, stored_specimens

EVIDENCE = [table.name for table in schema.EVIDENCE]
CLOSABLE = list(schema.CLOSING_COLUMNS)
REFUSED = "write-once"


def other_than(column: sa.Column[object], cell: Cell) -> Cell:
    """A value of the column's type that is not the one that is there."""
    if isinstance(column.type, sa.LargeBinary):
        return b"changed"
    if isinstance(column.type, sa.Boolean):
        return not cell
    if isinstance(column.type, sa.Float | sa.Integer):
        return 99
    return "interrupted" if column.name == "status" else "changed"


def update(database: Database, specimen: Specimen, **changes: Cell) -> None:
    with database.write() as connection:
        connection.execute(sa.update(specimen.table).where(*specimen.key).values(changes))


def stored(database: Database, specimen: Specimen) -> dict[str, object]:
    with database.read() as connection:
        return dict(connection.execute(sa.select(specimen.table).where(*specimen.key)).mappings().one())


@pytest.mark.parametrize("table", EVIDENCE)
def test_no_column_of_a_final_record_can_be_changed(database: Database, table: str) -> None:
    specimen = stored_specimens(database)[table]

    for column in specimen.table.columns:
        with pytest.raises(IntegrityError, match=REFUSED):
            update(database, specimen, **{column.name: other_than(column, specimen.cells[column.name])})
    last = list(specimen.cells)[-1]
    with pytest.raises(IntegrityError, match=REFUSED):
        update(database, specimen, **{last: specimen.cells[last]})

    assert stored(database, specimen) == specimen.cells


@pytest.mark.parametrize("table", EVIDENCE)
@pytest.mark.parametrize("are_open", [False, True])
def test_no_record_can_be_deleted(database: Database, table: str, *, are_open: bool) -> None:
    specimen = stored_specimens(database, are_open=are_open)[table]

    with pytest.raises(IntegrityError, match=REFUSED), database.write() as connection:
        connection.execute(sa.delete(specimen.table))

    assert count_of(database, table) == 1


@pytest.mark.parametrize("table", CLOSABLE)
def test_no_other_column_changes_while_a_record_closes(database: Database, table: str) -> None:
    specimen = stored_specimens(database, are_open=True)[table]
    closing = closing_values(specimen)

    for column in specimen.table.columns:
        if column.name not in closing:
            with pytest.raises(IntegrityError, match=REFUSED):
                update(
                    database,
                    specimen,
                    **closing,
                    **{column.name: other_than(column, specimen.cells[column.name])},
                )

    assert stored(database, specimen) == specimen.cells


@pytest.mark.parametrize("table", CLOSABLE)
def test_no_closing_column_changes_while_a_record_stays_open(database: Database, table: str) -> None:
    specimen = stored_specimens(database, are_open=True)[table]

    for name, value in closing_values(specimen).items():
        if name != "status":
            with pytest.raises(IntegrityError, match=REFUSED):
                update(database, specimen, **{name: value})

    assert stored(database, specimen) == specimen.cells


@pytest.mark.parametrize("table", CLOSABLE)
def test_an_open_record_closes_once(database: Database, table: str) -> None:
    specimen = stored_specimens(database, are_open=True)[table]
    closing = closing_values(specimen)

    update(database, specimen, **closing)

    assert stored(database, specimen) == specimen.changed(**closing)
    for again in ({"status": closing["status"]}, {"status": schema.OPEN_STATUS[table]}, closing):
        with pytest.raises(IntegrityError, match=REFUSED):
            update(database, specimen, **again)


def closing_values(specimen: Specimen) -> dict[str, Cell]:
    """What closing sets, each to the closed specimen's value, or to something where that has none."""
    final = specimens()[specimen.table.name].cells
    names = schema.CLOSING_COLUMNS[specimen.table.name]
    some = {name: other_than(specimen.table.columns[name], final[name]) for name in names}
    return {name: some[name] if final[name] is None else final[name] for name in names}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", EVIDENCE)
@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE"])
def test_sqlite_refuses_to_replace_a_record(database: Database, table: str, verb: str) -> None:
    specimen = stored_specimens(database)[table]
    marks = ", ".join("?" * len(specimen.cells))

    with pytest.raises(IntegrityError, match=REFUSED), database.write() as connection:
        connection.exec_driver_sql(f"{verb} INTO {table} VALUES ({marks})", tuple(specimen.cells.values()))

    assert stored(database, specimen) == specimen.cells


@pytest.mark.parametrize("table", EVIDENCE)
def test_an_upsert_does_not_get_past_it(database: Database, table: str) -> None:
    specimen = stored_specimens(database)[table]
    names = ", ".join(specimen.cells)
    last = list(specimen.cells)[-1]
    keys = ", ".join(column.name for column in specimen.table.primary_key.columns)
    marks = ", ".join(["?" if database.dialect == "sqlite" else "%s"] * len(specimen.cells))

    with pytest.raises(IntegrityError, match=REFUSED), database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {table} ({names}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT ({keys}) DO UPDATE SET {last} = excluded.{last}",
            tuple(specimen.cells.values()),
        )


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", EVIDENCE)
def test_postgresql_refuses_to_truncate_evidence(database: Database, table: str) -> None:
    stored_specimens(database)

    with pytest.raises(IntegrityError, match=REFUSED), database.write() as connection:
        connection.exec_driver_sql(f"TRUNCATE {table} CASCADE")

    assert count_of(database, table) == 1


def test_content_can_be_erased_and_the_evidence_stays(database: Database) -> None:
    stored_specimens(database)
    with database.write() as connection:
        connection.execute(sa.insert(schema.row_salts).values(salt_id="row", run_id=RUN_ID, salt=SALT))
        connection.execute(sa.insert(schema.payloads).values(salt_id="row", content_hash=b"1", body=b"{}"))

    with database.write() as connection:
        connection.execute(sa.delete(schema.payloads))
        connection.execute(sa.delete(schema.row_salts))

    assert (count_of(database, "payloads"), count_of(database, "row_salts")) == (0, 0)
    assert [count_of(database, table) for table in EVIDENCE] == [1] * len(EVIDENCE)


@pytest.mark.parametrize("table", [table.name for table in schema.OPERATIONAL])
def test_operational_records_change_freely(database: Database, table: str) -> None:
    operational = schema.metadata.tables[table]
    first = {
        column.name: 1 if isinstance(column.type, sa.Integer) else "first" for column in operational.columns
    }
    moved = {"progress": "updated_at", "purges": "older_than"}.get(table, "heartbeat_at")

    with database.write() as connection:
        connection.execute(sa.insert(operational).values(first))
        connection.execute(sa.update(operational).values({moved: NOW}))
        kept = connection.execute(sa.select(operational)).mappings().one()
        connection.execute(sa.delete(operational))

    assert kept == {**first, moved: NOW}
    assert count_of(database, table) == 0
