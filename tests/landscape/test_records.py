"""Records: what is stored reads back as it was hashed, on both databases."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.queries import payload_body
from elspeth_dagster.landscape.records import Cell, Record, Unit, closed, opened, sealed, statements
from elspeth_dagster.model.canonical import canonical_bytes, content_hash, parsed, record_hash
from elspeth_dagster.model.row import Row, normalised
from tests.landscape.material import NOW, SALT, specimens, stored_specimens
from tests.model.json_values import EDGE_NUMBERS, nested, rows

shared_database = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Examples share one database: what is stored is keyed by what it is, or rolled back."""

cells_of_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def cells_for(column: sa.Column[object]) -> st.SearchStrategy[Cell]:
    """Values of a column's type; whole numbers for fractions too, as Python takes them for the same."""
    if isinstance(column.type, sa.LargeBinary):
        return st.binary(max_size=40)
    if isinstance(column.type, sa.Boolean):
        return st.booleans()
    if isinstance(column.type, sa.Float):
        return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
    if isinstance(column.type, sa.BigInteger):
        return st.integers(-(2**63), 2**63 - 1)
    if isinstance(column.type, sa.Integer):
        return st.integers(-(2**31), 2**31 - 1)
    return cells_of_text


def free_columns(table: sa.Table) -> list[sa.Column[object]]:
    """The columns that may hold anything: no keys, no words of an enumeration, no hash of the others."""
    bound = {column.name for constraint in table.foreign_key_constraints for column in constraint.columns}
    bound |= {column.name for column in table.primary_key.columns}
    bound |= {
        "status",
        "outcome",
        "is_terminal",
        "out_port",
        "record_hash",
        "seal_hash",
        "relation",
        "trigger_type",
    }
    return [column for column in table.columns if column.name not in bound]


@st.composite
def evidence(draw: st.DrawFn) -> dict[str, Record]:
    """One record of each table, in an order in which they can be stored."""
    records: dict[str, Record] = {}
    for name, specimen in specimens().items():
        cells = dict(specimen.cells)
        for column in free_columns(specimen.table):
            drawn = cells_for(column)
            cells[column.name] = draw(st.none() | drawn if column.nullable else drawn)
        records[name] = sealed(name, *list(cells.values())[:-1])
    return records


@shared_database
@given(evidence())
def test_the_hash_of_a_record_is_that_of_what_the_database_gives_back(
    database: Database, records: dict[str, Record]
) -> None:
    with database.engine.connect() as connection, connection.begin() as transaction:
        for name, record in records.items():
            unit = Unit()
            unit.insert(name, record)
            store(connection, unit)
        found = {name: connection.execute(sa.select(schema.metadata.tables[name])).one() for name in records}
        transaction.rollback()

    for name, record in records.items():
        assert tuple(found[name]) == record
        assert record_hash(name, found[name][:-1]) == found[name][-1]


def test_a_whole_number_in_a_column_of_fractions_is_hashed_as_the_fraction_that_is_read() -> None:
    by_int = closed(
        "calls", opened(*list(specimens()["calls"].cells.values())[:-1]), latency_ms=3, cost_usd=1
    )
    by_float = closed(
        "calls", opened(*list(specimens()["calls"].cells.values())[:-1]), latency_ms=3.0, cost_usd=1.0
    )

    assert by_int == by_float
    assert by_int[-1] == by_float[-1]


def test_closing_changes_what_is_named_and_seals_the_rest() -> None:
    state = opened(*list(specimens(are_open=True)["node_states"].cells.values())[:-1])

    final = closed("node_states", state, status="failed", completed_at=NOW)

    columns = schema.node_states.columns.keys()
    assert {name for name, before, after in zip(columns, state, final, strict=True) if before != after} == {
        "status", "completed_at", "record_hash",
    }  # fmt: skip
    assert final[-1] == record_hash("node_states", final[:-1])


def test_a_column_that_does_not_exist_is_never_closed() -> None:
    with pytest.raises(KeyError, match="no_such_column"):
        closed("calls", opened(*list(specimens()["calls"].cells.values())[:-1]), no_such_column=1)


def test_a_number_that_is_none_never_becomes_evidence() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        closed("calls", opened(*list(specimens()["calls"].cells.values())[:-1]), latency_ms=math.nan)


def test_a_unit_counts_and_takes_over_records() -> None:
    one, other = Unit(), Unit()
    one.insert("rows", ("1",))
    other.insert("rows", ("2",))
    other.insert("tokens", ("2",))
    other.close("calls", ("2",))

    one.absorb(other)

    assert len(one) == 4
    assert one.inserts == {"rows": [("1",), ("2",)], "tokens": [("2",)]}
    assert one.closings == {"calls": [("2",)]}


@pytest.mark.parametrize("table", list(schema.metadata.tables))
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_record_feeds_its_statements_in_their_order(table: str, dialect: str) -> None:
    made = statements(table, dialect)
    mark = "?" if dialect == "sqlite" else "%s"
    record: Record = tuple(made.columns)  # each cell holds its column's name

    assert made.insert.count(mark) == len(made.columns)
    assert made.key(record) == made.key_columns
    assert (made.close is not None) == (table in schema.CLOSING_COLUMNS)
    if made.close is not None:
        named = [part.split(" =")[0].split()[-1] for part in made.close.split(f" {mark}")[:-1]]
        assert tuple(named) == made.closing_parameters(record)


# Bodies -------------------------------------------------------------------------------------------------------------


@shared_database
@given(rows)
@example(dict(zip("abcdefghijklmnopqrstuvwxyz", EDGE_NUMBERS, strict=False)))
@example({"emoji": "👩‍🚀\U0001f600", "nul": "\0", "line": "\u2028", "empty": "", "key é": {}})
@example(nested(50))
@example({"text": "é" * 2**19})
@example({})
def test_a_row_comes_back_from_its_payload_as_it_was_hashed(database: Database, row: Row) -> None:
    body = canonical_bytes(normalised(row))
    digest = content_hash(SALT, body)
    unit = Unit()
    unit.insert("payloads", ("row", digest, body))

    with database.write() as connection:
        store(connection, unit)
    with database.read() as connection:
        found = payload_body(connection, "row", digest)

    assert found == body
    assert parsed(found) == row
    assert content_hash(SALT, canonical_bytes(parsed(found))) == digest


def test_a_body_that_is_not_there_is_none(database: Database) -> None:
    with database.read() as connection:
        assert payload_body(connection, "row", b"no such hash") is None
        assert payload_body(connection, "row", None) is None


def test_what_the_specimens_stored_reads_back_whole(database: Database) -> None:
    for specimen in stored_specimens(database).values():
        with database.read() as connection:
            found = connection.execute(sa.select(specimen.table).where(*specimen.key)).mappings().one()
        assert found == specimen.cells
        assert (
            record_hash(specimen.table.name, list(specimen.cells.values())[:-1]) == list(found.values())[-1]
        )
