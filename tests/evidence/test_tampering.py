"""One byte that was changed in any column of any evidence table, or of a body, is reported with its table.

So is a record that was removed, added, copied or moved, a tail that was cut off, and a chain that was rewritten.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.evidence import OF_AN_EXECUTION
from elspeth_dagster.landscape.records import sealed
from elspeth_dagster.landscape.verify import CHECKS
from tests.evidence.conftest import Copy
from tests.evidence.making import KEY, RUN_ID

OF_BODIES = {name: check for name, check in CHECKS.items() if "body" in name or "salt" in name}
COLUMNS = [(table.name, column.name) for table in schema.EVIDENCE for column in table.columns]


def _changed(value: object, column: sa.Column[object]) -> object:
    """The value with one byte changed, or something where there was nothing."""
    if value is None:
        return b"\x01" if isinstance(column.type, sa.LargeBinary) else 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1] != "x" else "y")
    assert isinstance(value, int | float)
    return value + 1 if not isinstance(column.type, sa.Boolean) else 1 - value


def _some_record(copy: Copy, table: str, column: str) -> tuple[int, object]:
    """The place and the value of a record: one that has a value in the column, if there is one."""
    with closing(sqlite3.connect(copy.path)) as connection:
        question = f"SELECT rowid, {column} FROM {table} ORDER BY {column} IS NULL, rowid DESC LIMIT 1"  # noqa: S608
        found: tuple[int, object] = connection.execute(question).fetchone()
        return found


def test_an_honest_run_is_clean_and_everything_was_looked_at(copy: Copy) -> None:
    report = copy.report()
    assert [finding for check in report.checks for finding in check.findings] == []
    assert report.notes == ()
    with closing(sqlite3.connect(copy.path)) as connection:
        for table in schema.EVIDENCE:
            count = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]  # noqa: S608
            assert count, f"the honest run has no record in {table.name}"


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{table}.{column}" for table, column in COLUMNS])
def test_a_changed_byte_of_evidence_is_reported_with_its_table(copy: Copy, table: str, column: str) -> None:
    place, value = _some_record(copy, table, column)
    changed = _changed(value, schema.metadata.tables[table].columns[column])
    copy.change((f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, place)))  # noqa: S608
    run = RUN_ID
    if (table, column) == ("runs", "run_id"):  # nothing is found under the id that it had, only under its key
        with pytest.raises(LandscapeError, match="There is no run"):
            copy.findings()
        run = KEY
    assert table in {finding.table for finding in copy.findings(with_dagster=False, run=run)}


@pytest.mark.parametrize("column", ["salt_id", "content_hash", "body"])
def test_a_changed_byte_of_any_body_is_reported(copy: Copy, column: str) -> None:
    with closing(sqlite3.connect(copy.path)) as connection:
        bodies = connection.execute(f"SELECT rowid, {column} FROM payloads").fetchall()  # noqa: S608
    assert len(bodies) > 30
    for place, value in bodies:
        changed = _changed(value, schema.payloads.columns[column])
        copy.change((f"UPDATE payloads SET {column} = ? WHERE rowid = ?", (changed, place)))  # noqa: S608
        assert copy.findings(with_dagster=False, checks=OF_BODIES), f"{column} of body {place} was changed"
        copy.change((f"UPDATE payloads SET {column} = ? WHERE rowid = ?", (value, place)))  # noqa: S608


@pytest.mark.parametrize("column", ["run_id", "salt"])
def test_a_changed_salt_is_reported(copy: Copy, column: str) -> None:
    place, value = _some_record(copy, "row_salts", column)
    changed = _changed(value, schema.row_salts.columns[column])
    copy.change((f"UPDATE row_salts SET {column} = ? WHERE rowid = ?", (changed, place)))  # noqa: S608
    assert copy.findings(with_dagster=False)


SEALED = [table.name for table in (*OF_AN_EXECUTION, schema.edges, schema.nodes)]


@pytest.mark.parametrize("table", SEALED)
def test_every_record_that_is_removed_is_reported_with_its_table(copy: Copy, table: str) -> None:
    copy.change(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})")  # noqa: S608
    assert table in {
        finding.table for finding in copy.findings(with_dagster=False) if finding.check == "seal_root"
    }


def _copied(copy: Copy, table: str) -> None:
    """A second record with another key and a hash of its own columns: nothing is wrong with it by itself."""

    columns = schema.metadata.tables[table].columns.keys()
    key = next(iter(reversed(schema.metadata.tables[table].primary_key.columns)))
    with closing(sqlite3.connect(copy.path)) as connection:
        unique = "ORDER BY rowid DESC LIMIT 1"
        record = list(connection.execute(f"SELECT * FROM {table} {unique}").fetchone())  # noqa: S608
    place = columns.index(key.name)
    record[place] = record[place] + 1 if isinstance(record[place], int) else f"{record[place]}x"
    for name in ("row_index", "batch_index", "call_index", "attempt", "ordinal"):
        if name in columns and name != key.name:
            record[columns.index(name)] += 100
    if table in {"routing_events", "coalesce_events", "batch_members", "batch_outputs", "token_outcomes"}:
        _unlike(record, columns, table)
    if "truth" in columns or "is_terminal" in columns:
        for name in {"truth", "is_terminal"} & set(columns):
            record[columns.index(name)] = bool(record[columns.index(name)])
    made = sealed(table, *record[:-1])
    marks = ", ".join("?" * len(made))
    copy.change((f"INSERT INTO {table} VALUES ({marks})", made))  # noqa: S608


def _unlike(record: list[object], columns: list[str], table: str) -> None:
    """Another owner, where a table allows one record each."""
    of = {
        "routing_events": "state_id",
        "coalesce_events": "parent_token_id",
        "batch_members": "token_id",
        "batch_outputs": "token_id",
        "token_outcomes": "token_id",
    }[table]
    other = {"state_id": "0123abcd-000000000@split", "token_id": "0123abcd-000000004"}
    record[columns.index(of)] = other.get(of, "0123abcd-000000004")
    if table == "token_outcomes":
        record[columns.index("is_terminal")] = 0


@pytest.mark.parametrize("table", SEALED)
def test_a_record_that_was_added_is_reported_with_its_table(copy: Copy, table: str) -> None:
    _copied(copy, table)
    assert table in {
        finding.table for finding in copy.findings(with_dagster=False) if finding.check == "seal_root"
    }
