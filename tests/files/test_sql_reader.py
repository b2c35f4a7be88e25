"""A table or query is read in its declared order, typed, streamed, and only read: on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files.record import read_row
from elspeth_dagster.files.sql_reader import Asked, read_sql
from elspeth_dagster.model.columns import RowReader, parse_columns
from elspeth_dagster.model.row import Row
from elspeth_dagster.tables.address import Address, address_of
from tests.files.conftest import Execute
from tests.postgres import Postgres

MIB = 1024 * 1024


def _rows(
    address: Address, columns: dict[str, str], *order: str, **keys: Any
) -> list[tuple[Row | None, list[str]]]:
    extra = keys.pop("extra", "keep")
    parsed = parse_columns(columns)
    reader = RowReader(parsed, extra=extra, from_text=False, from_table=True)
    asked = Asked(order or ("id",), **keys)
    found = [read_row(record, reader) for record in read_sql(address, asked, columns=parsed, extra=extra)]
    return [(row, [f"{one.field}: {one.code}" for one in violations]) for row, violations in found]


def test_a_table_is_read_in_the_declared_order(address: Address, execute: Execute) -> None:
    execute("CREATE TABLE t (id INTEGER, day TEXT)", "INSERT INTO t VALUES (3, 'a'), (1, 'b'), (2, 'b')")
    assert [row for row, _ in _rows(address, {"id": "int"}, table="t", extra="drop")] == [
        {"id": 1}, {"id": 2}, {"id": 3},
    ]  # fmt: skip
    query = "SELECT id, day FROM t WHERE id < 3 -- not all\n;"
    assert [row for row, _ in _rows(address, {"id": "int"}, "day", "id", query=query)] == [
        {"id": 1, "day": "b"}, {"id": 2, "day": "b"},
    ]  # fmt: skip


def test_types_become_ours(address: Address, execute: Execute) -> None:
    is_postgres = address.url.get_backend_name() == "postgresql"
    types = (
        "id bigint, f double precision, s text, b boolean, d date, t timestamptz, m numeric(10, 2), j jsonb, u uuid"
        if is_postgres
        else "id, f, s, b, d, t, m, j, u"
    )
    truth = "true" if is_postgres else "1"
    execute(
        f"CREATE TABLE t ({types})",
        f"INSERT INTO t VALUES (7, 0.5, 'é', {truth}, '2026-01-31', '2026-01-31 09:30:00+02:00', '12.50', "  # noqa: S608
        """'{"a": [1]}', '6f1b1c9e-0b5e-4c5e-9a43-3a1f7f1c2d3e')""",
    )
    declared = {
        "id": "int", "f": "float", "s": "str", "b": "bool", "d": "date", "t": "datetime", "m": "decimal", "j": "json",
        "u": "str",
    }  # fmt: skip
    expected = {
        "id": 7, "f": 0.5, "s": "é", "b": True, "d": "2026-01-31", "t": "2026-01-31T07:30:00Z", "m": "12.50",
        "j": {"a": [1]}, "u": "6f1b1c9e-0b5e-4c5e-9a43-3a1f7f1c2d3e",
    }  # fmt: skip
    assert _rows(address, declared, table="t") == [(expected, [])]


def test_what_a_row_cannot_hold_is_that_rows_violation(address: Address, execute: Execute) -> None:
    is_postgres = address.url.get_backend_name() == "postgresql"
    raw = r"'\x00ff'::bytea" if is_postgres else "x'00ff'"
    nan = "'NaN'::float8" if is_postgres else "9e999"
    execute(
        f"CREATE TABLE t (id integer, f {'float8' if is_postgres else 'real'}, "
        f"raw {'bytea' if is_postgres else 'blob'})",
        f"INSERT INTO t VALUES (1, 1.5, NULL), (2, {nan}, NULL), (3, NULL, NULL), (4, 1.5, {raw})",  # noqa: S608
    )
    assert [violations for _, violations in _rows(address, {"id": "int", "f": "float"}, table="t")] == [
        [],
        ["f: not_a_number"],
        ["f: missing_field"],
        ["raw: wrong_type"],
    ]


def test_hostile_names_are_only_names(address: Address, execute: Execute) -> None:
    table, column = 'a "b"; DROP TABLE t; --', 'x:y "z" %s {partition} \''
    quoted = [name.replace('"', '""') for name in (table, column)]
    execute(
        f'CREATE TABLE "{quoted[0]}" (id integer, "{quoted[1]}" integer)',
        f'INSERT INTO "{quoted[0]}" VALUES (1, 5)',  # noqa: S608
    )
    assert _rows(address, {column: "int"}, column, table=table) == [({column: 5, "id": 1}, [])]
    query = f'SELECT * FROM "{quoted[0]}"'  # noqa: S608
    assert _rows(address, {column: "int"}, column, query=query) == [({column: 5, "id": 1}, [])]


def test_the_partition_is_a_parameter_of_whatever_type(address: Address, execute: Execute) -> None:
    execute(
        "CREATE TABLE t (id integer, day date)", "INSERT INTO t VALUES (1, '2026-01-01'), (2, '2026-01-02')"
    )
    query = "SELECT id FROM t WHERE day = {partition}"
    assert _rows(address, {"id": "int"}, query=query, partition="2026-01-02") == [({"id": 2}, [])]
    hostile = "SELECT id FROM t WHERE CAST(day AS text) = {partition}"
    assert _rows(address, {"id": "int"}, query=hostile, partition="x' OR '1'='1") == []


def test_an_order_that_leaves_two_records_open_is_refused(address: Address, execute: Execute) -> None:
    execute("CREATE TABLE t (id integer, day text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'b')")
    with pytest.raises(
        SourceError, match=r"order_by: \[day\]` leaves the order open: records 1 and 2 are alike"
    ):
        _rows(address, {"id": "int"}, "day", table="t")


@pytest.mark.parametrize(
    ("columns", "order", "asked", "what"),
    [
        (
            {"id": "int"},
            "id",
            {"table": "messagez"},
            "There is no table 'messagez'. Did you mean 'messages'?",
        ),
        ({"id": "int"}, "id", {"table": "main.messages"}, "name the schema with `schema:`"),
        ({"ident": "int"}, "id", {"table": "messages"}, "The table lacks 'ident'"),
        (
            {"id": "int"},
            "idd",
            {"table": "messages"},
            "`order_by` names 'idd', which the table does not have. Did you",
        ),
        (
            {"id": "int"},
            "idd",
            {"query": "SELECT id FROM messages"},
            "`order_by` names 'idd', which the query's",
        ),
        ({"id": "int"}, "id", {"query": "SELECT id FROM nothing"}, "nothing"),
    ],
)
def test_what_is_wrong_is_told_before_the_first_record(
    address: Address,
    execute: Execute,
    *,
    columns: dict[str, str],
    order: str,
    asked: dict[str, Any],
    what: str,
) -> None:
    execute("CREATE TABLE messages (id integer)", "INSERT INTO messages VALUES (1)")
    with pytest.raises(SourceError) as told:
        _rows(address, columns, order, **asked)
    assert what in str(told.value)


def test_two_columns_of_one_name_are_refused_or_told_apart(address: Address, execute: Execute) -> None:
    execute("CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)")
    query = "SELECT id, id FROM t"
    if address.url.get_backend_name() == "sqlite":  # which gives the second another name
        assert _rows(address, {"id": "int"}, query=query) == [({"id": 1, "id:1": 1}, [])]
        return
    with pytest.raises(SourceError, match="names its column 'id' more than once"):
        _rows(address, {"id": "int"}, query=query)


def test_a_query_cannot_write(address: Address, execute: Execute, foreign_url: str) -> None:
    execute("CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)")
    is_postgres = address.url.get_backend_name() == "postgresql"
    writing = "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone"
    with pytest.raises(SourceError, match="The database refused"):
        _rows(address, {"id": "int"}, query=writing)
    if is_postgres:
        execute("CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING id'")
        with pytest.raises(SourceError, match="read-only"):
            _rows(address, {"id": "int"}, query="SELECT f() AS id")
    engine = sa.create_engine(foreign_url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1


def test_a_missing_sqlite_file_is_told_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "nothing.db"
    address = address_of(f"sqlite:///{path}", error=SourceError, where="url", sqlite_path=Path)
    with pytest.raises(SourceError, match="does not exist"):
        _rows(address, {"id": "int"}, table="t")
    assert not path.exists()
    path.write_text("no database, but long enough to be looked at as one" * 20)
    with pytest.raises(SourceError, match="not a database"):
        _rows(address, {"id": "int"}, table="t")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("no url", "cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("nosuch://h/d", "The driver of nosuch is not installed"),
        ("postgresql://spy:Pa55word@127.0.0.1:9/d", "cannot be used"),
        ("postgresql://spy:Pa55word@127.0.0.1:9/d?nonsense=1", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_user(url: str, what: str) -> None:
    with pytest.raises(SourceError, match=what) as told:
        _rows(address_of(url, error=SourceError, where="url", sqlite_path=Path), {"id": "int"}, table="t")
    _tells_nothing(told.value, "spy", "Pa55word")


def test_a_wrong_password_is_told_without_user_and_password(postgres: Postgres) -> None:
    url = sa.make_url(postgres.empty()).set(username="spy_user", password="Pa55word")
    written = url.render_as_string(hide_password=False)
    with pytest.raises(SourceError, match="cannot be used") as told:
        _rows(address_of(written, error=SourceError, where="url", sqlite_path=Path), {"id": "int"}, table="t")
    _tells_nothing(told.value, "spy_user", "Pa55word")
    assert "[redacted]" in str(told.value)


def _tells_nothing(error: BaseException, *secrets: str) -> None:
    """Neither its text, nor that of anything it came from: Dagster stores causes and contexts."""
    seen: BaseException | None = error
    while seen is not None:
        assert not [secret for secret in secrets if secret in f"{seen!s} {seen!r}"]
        seen = seen.__cause__ or seen.__context__


def test_memory_does_not_grow_with_the_table(foreign_url: str, execute: Execute) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) SELECT i"
    text = "repeat('x', 2000)" if foreign_url.startswith("postgres") else "hex(zeroblob(1000))"
    execute("CREATE TABLE t (id integer PRIMARY KEY, text text)", f"INSERT INTO t {numbers}, {text} FROM n")
    program = (
        "import resource\nfrom pathlib import Path\nfrom elspeth_dagster.errors import SourceError\n"
        "from elspeth_dagster.files.sql_reader import Asked, read_sql\n"
        "from elspeth_dagster.tables.address import address_of\n"
        f"address = address_of({foreign_url!r}, error=SourceError, where='url', sqlite_path=Path)\n"
        "records = read_sql(address, Asked(('id',), table='t'))\nnext(records)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for _ in records) == 59999\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 20 * MIB
