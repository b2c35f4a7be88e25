"""A sink's rows appear in a table together or not at all, and only its own ever go: on SQLite and on PostgreSQL."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files.sql_writer import SqlWriter
from elspeth_dagster.files.writers import Artifact
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import Row
from elspeth_dagster.tables.address import Address
from elspeth_dagster.tables.uri import TableUri, parsed_uri
from tests.files.conftest import Execute

INT, STR = ColumnType.INT, ColumnType.STR


@pytest.fixture
def target(address: Address) -> Address:
    return Address(address.url, SinkError)


def _uri(address: Address, table: str = "t", **keys: Any) -> TableUri:
    given = {"schema": None, "sink": "p/out", "partition": None, "run_id": None, **keys}
    return TableUri(database=address.database, table=table, **given)


def _writer(uri: TableUri, address: Address, columns: dict[str, ColumnType], run: str = "run-1") -> SqlWriter:
    return SqlWriter(address, uri, run_id=run, columns=columns)


def _write(
    uri: TableUri, address: Address, rows: list[Row], columns: dict[str, ColumnType], run: str = "run-1"
) -> Artifact:
    with _writer(uri, address, columns, run) as writer:
        for row in rows:
            writer.write(row)
        return writer.finish()


def _read(address: Address, question: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(address.url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(question)]


def test_the_table_is_made_and_every_row_says_whose_it_is(target: Address) -> None:
    rows: list[Row] = [{"id": number, "text": f"t{number}"} for number in range(1_200)]
    artifact = _write(_uri(target), target, rows, {"id": INT, "text": STR})
    assert (artifact.row_count, artifact.path) == (1_200, None)
    assert parsed_uri(artifact.uri) == _uri(target)
    found = _read(
        target, "SELECT id, text, elspeth_sink, elspeth_run_id, elspeth_row FROM t ORDER BY elspeth_row"
    )
    assert found == [(number, f"t{number}", "p/out", "run-1", number + 1) for number in range(1_200)]


def test_values_keep_their_types(target: Address) -> None:
    row: Row = {
        "s": "é", "i": 7, "f": 2, "b": False, "d": "2026-01-31", "t": "2026-01-31T07:30:00Z", "m": "12.50",
        "j": {"a": ["ü"]},
    }  # fmt: skip
    _write(_uri(target), target, [row, {}], dict(zip(row, ColumnType, strict=True)))
    is_postgres = target.url.get_backend_name() == "postgresql"
    (found, empty) = _read(target, "SELECT s, i, f, b, d, t, m, j FROM t ORDER BY elspeth_row")
    moment = dt.datetime(2026, 1, 31, 7, 30, tzinfo=dt.UTC)
    expected: tuple[Any, ...] = ("é", 7, 2.0, 0, "2026-01-31", "2026-01-31T07:30:00Z", "12.50", '{"a":["ü"]}')
    if is_postgres:
        expected = ("é", 7, 2.0, False, dt.date(2026, 1, 31), moment, Decimal("12.50"), {"a": ["ü"]})
    assert found[:4] == expected[:4]
    assert str(found[6]) == "12.50"
    assert found[7] == expected[7]
    if is_postgres:
        assert found == expected
    assert empty == (None,) * 8


def test_a_run_that_goes_on_takes_its_own_rows_back(target: Address) -> None:
    for uri in (_uri(target), _uri(target, sink="p/kept", run_id="run-1")):
        first = _write(uri, target, [{"id": 1}, {"id": 2}], {"id": INT})
        again = _write(uri, target, [{"id": 1}, {"id": 2}], {"id": INT})
        assert (first.sha256, first.row_count) == (again.sha256, again.row_count)
    assert _read(target, "SELECT count(*) FROM t") == [(4,)]


def test_replacing_takes_the_partitions_earlier_rows_and_nobody_elses(
    target: Address, execute: Execute
) -> None:
    columns = {"id": INT}
    for sink, partition in (("p/out", "a"), ("p/out", "b"), ("p/out", None), ("p/other", "a")):
        uri = _uri(target, sink=sink, partition=partition)
        _write(uri, target, [{"id": 1}, {"id": 2}], columns, f"run-1/{partition}")
    own = "INSERT INTO t (id, elspeth_sink, elspeth_run_id, elspeth_row) VALUES (9, 'me', 'me', 1)"
    execute(own)
    _write(_uri(target, partition="a"), target, [{"id": 3}], columns, "run-2")
    question = "SELECT elspeth_sink, elspeth_partition, id FROM t ORDER BY 1, 2, 3"
    found = _read(target, question)
    assert sorted(found, key=str) == sorted(
        [
            ("me", None, 9), ("p/other", "a", 1), ("p/other", "a", 2), ("p/out", None, 1), ("p/out", None, 2),
            ("p/out", "a", 3), ("p/out", "b", 1), ("p/out", "b", 2),
        ],
        key=str,
    )  # fmt: skip


def test_appending_keeps_the_rows_of_earlier_runs(target: Address) -> None:
    for run in ("run-1", "run-2", "run-2"):
        _write(_uri(target, run_id=run), target, [{"id": 1}], {"id": INT}, run)
    assert _read(target, "SELECT elspeth_run_id FROM t ORDER BY 1") == [("run-1",), ("run-2",)]


def test_a_failure_half_way_leaves_the_table_as_it_was(target: Address) -> None:
    _write(_uri(target), target, [{"id": 1}], {"id": INT})
    rows: list[Row] = [{"id": number} for number in range(700)]
    with pytest.raises(
        SinkError, match="Row 700 cannot be written: 'id' holds a text that is no int"
    ) as told:
        _write(_uri(target), target, [*rows, {"id": "secret"}], {"id": INT}, "run-2")
    assert "secret" not in str(told.value)
    with _writer(_uri(target), target, {"id": INT}, "run-3") as writer:
        for number in range(1_000):
            writer.write({"id": number})
    assert _read(target, "SELECT id, elspeth_run_id FROM t") == [(1, "run-1")]


def test_hostile_names_are_only_names(target: Address) -> None:
    table, names = 'a "b"; DROP TABLE t; --', ['x"y', "%s %(a)s", ":p", "select", "a.b", "ü é", "Id", "(1)"]
    row: Row = {name: number for number, name in enumerate(names)}
    uri = _uri(target, table, sink="p'; --/%s")
    for _ in range(2):
        assert _write(uri, target, [row], dict.fromkeys(names, INT)).row_count == 1
    quoted = table.replace('"', '""')
    assert _read(target, f'SELECT * FROM "{quoted}"')[0][:8] == tuple(range(8))  # noqa: S608


def test_a_table_that_is_there_keeps_its_own_types(target: Address, execute: Execute) -> None:
    own = "elspeth_sink text, elspeth_run_id text, elspeth_partition text, elspeth_row bigint"
    execute(f"CREATE TABLE t (note text, amount numeric(10, 2), day date, id integer, extra integer, {own})")
    rows: list[Row] = [{"note": {"a": 1}, "amount": "1.5", "day": "2026-01-31", "id": 7}]
    columns = {"note": ColumnType.JSON, "amount": STR, "day": STR, "id": INT}
    artifact = _write(_uri(target), target, rows, columns)
    assert artifact.row_count == 1
    (found,) = _read(target, "SELECT note, amount, id, extra FROM t")
    assert (found[0], float(found[1]), found[2], found[3]) == ('{"a":1}', 1.5, 7, None)
    with pytest.raises(SinkError, match="'day' holds a text that is no date"):
        _write(_uri(target), target, [{"day": "soon"}], {"day": STR})


def test_a_table_of_another_kind_is_refused(target: Address, execute: Execute) -> None:
    execute("CREATE TABLE t (id integer)", "INSERT INTO t VALUES (1)")
    with pytest.raises(SinkError, match="was not made by a sink: it has no column 'elspeth_sink'"):
        _write(_uri(target), target, [{"id": 2}], {"id": INT})
    _write(_uri(target, "u"), target, [{"id": 2}], {"id": INT})
    with pytest.raises(SinkError, match=r"no column 'idd'. Did you mean 'id'\?") as told:
        _write(_uri(target, "u"), target, [{"idd": 2}], {"idd": INT})
    assert "ALTER TABLE u ADD COLUMN idd BIGINT" in str(told.value)
    assert _read(target, "SELECT id FROM t UNION ALL SELECT id FROM u") == [(1,), (2,)]


def test_a_constraint_of_the_table_is_told_without_the_row(target: Address, execute: Execute) -> None:
    own = "elspeth_sink text, elspeth_run_id text, elspeth_partition text, elspeth_row bigint"
    execute(f"CREATE TABLE t (note text CHECK (note <> 'secret'), {own})")
    with pytest.raises(SinkError, match="The database refused") as told:
        _write(_uri(target), target, [{"note": "secret"}], {"note": STR})
    assert "secret'" not in str(told.value).replace("<> 'secret'", "")
    assert told.value.__cause__ is None
    assert told.value.__context__ is None


def test_a_schema_is_taken_by_name(target: Address, execute: Execute) -> None:
    if target.url.get_backend_name() == "sqlite":
        schema = "main"
    else:
        schema = 'of "us"'
        execute('CREATE SCHEMA "of ""us"""')
    _write(_uri(target, schema=schema), target, [{"id": 1}], {"id": INT})
    quoted = schema.replace('"', '""')
    assert _read(target, f'SELECT id FROM "{quoted}".t') == [(1,)]  # noqa: S608


def test_fields_that_tell_of_an_earlier_sink_are_this_ones(target: Address) -> None:
    row: Row = {"id": 1, "elspeth_run_id": "old", "elspeth_row": 77}
    _write(_uri(target), target, [row], {"id": INT, "elspeth_run_id": STR, "elspeth_row": INT})
    assert _read(target, "SELECT elspeth_run_id, elspeth_row FROM t") == [("run-1", 1)]
