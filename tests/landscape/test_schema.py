"""The tables: what the migration makes is what the code declares, and the database itself refuses what is wrong."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import IntegrityError

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.records import Cell
from tests.landscape.conftest import NewUrl
from tests.landscape.material import Specimen, stored_specimens

EVIDENCE = [table.name for table in schema.EVIDENCE]
BROKEN_KEY = re.compile("foreign key", re.IGNORECASE)
BROKEN_CHECK = re.compile("check constraint", re.IGNORECASE)
BROKEN_NULL = re.compile("not.null", re.IGNORECASE)
BROKEN_UNIQUE = re.compile("unique", re.IGNORECASE)


def described(database: Database) -> dict[str, dict[str, object]]:
    """Everything that a database says about its tables, in an order of its own making."""
    found: dict[str, dict[str, object]] = {}
    with database.read() as connection:
        inspector = sa.inspect(connection)
        for name in inspector.get_table_names():
            found[name] = {
                "columns": [
                    (column["name"], str(column["type"]), column["nullable"], column["default"])
                    for column in inspector.get_columns(name)
                ],
                "primary key": inspector.get_pk_constraint(name),
                "foreign keys": sorted(map(repr, inspector.get_foreign_keys(name))),
                "unique": sorted(map(repr, inspector.get_unique_constraints(name))),
                "checks": sorted(map(repr, inspector.get_check_constraints(name))),
                "indexes": sorted(map(_index, inspector.get_indexes(name))),
            }
    found.pop("alembic_version", None)
    return found


def _index(index: ReflectedIndex) -> str:
    options = {name: str(option) for name, option in index.get("dialect_options", {}).items()}
    return f"{index['name']} {index['column_names']} {index['unique']} {options}"


def refused(database: Database, specimen: Specimen, why: re.Pattern[str], **changes: Cell) -> None:
    with pytest.raises(IntegrityError, match=why), database.write() as connection:
        connection.execute(sa.insert(specimen.table).values(specimen.changed(**changes)))


def accepted(database: Database, specimen: Specimen, **changes: Cell) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(specimen.table).values(specimen.changed(**changes)))


def test_the_migration_leaves_nothing_for_alembic_to_add(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})

        assert compare_metadata(context, schema.metadata) == []


def test_the_migration_makes_what_the_code_declares(database: Database, new_empty_url: NewUrl) -> None:
    declared = Database(new_empty_url())
    with declared.write() as connection:
        schema.metadata.create_all(connection)

    assert described(database) == described(declared)
    declared.dispose()


def test_every_table_is_of_exactly_one_kind() -> None:
    kinds = [*schema.EVIDENCE, *schema.CONTENT, *schema.OPERATIONAL]

    assert sorted(table.name for table in kinds) == sorted(schema.metadata.tables)


def test_every_evidence_record_ends_with_its_hash_and_only_open_ones_lack_it() -> None:
    for table in schema.EVIDENCE:
        last = list(table.columns)[-1]
        assert last.name == ("seal_hash" if table.name == "seals" else "record_hash")
        assert last.nullable == (table.name in schema.CLOSING_COLUMNS)


@pytest.mark.parametrize("table", EVIDENCE)
def test_every_foreign_key_is_enforced(database: Database, table: str) -> None:
    specimen = stored_specimens(database, before=table)[table]

    for constraint in specimen.table.foreign_key_constraints:
        last = list(constraint.columns)[-1].name
        refused(database, specimen, BROKEN_KEY, **{last: "nowhere"})

    accepted(database, specimen)


@pytest.mark.parametrize("table", EVIDENCE)
def test_what_must_be_there_cannot_be_null(database: Database, table: str) -> None:
    specimen = stored_specimens(database, before=table)[table]

    for column in specimen.table.columns:
        if not column.nullable:
            refused(database, specimen, BROKEN_NULL, **{column.name: None})


@pytest.mark.parametrize(
    "table", ["run_attempts", "node_executions", "node_states", "calls", "batches", "token_outcomes"]
)
def test_a_word_that_nobody_knows_is_refused(database: Database, table: str) -> None:
    specimen = stored_specimens(database, before=table)[table]
    column = "outcome" if table == "token_outcomes" else "status"

    for word in ("", "nonsense", str(specimen.cells[column]).upper()):
        refused(database, specimen, BROKEN_CHECK, **{column: word})


@pytest.mark.parametrize(
    "table", ["run_attempts", "node_executions", "node_states", "calls", "batches", "token_outcomes"]
)
def test_every_word_of_the_code_is_accepted_by_the_database(database: Database, table: str) -> None:
    specimen = stored_specimens(database, before=table)[table]
    column = "outcome" if table == "token_outcomes" else "status"
    (check,) = [
        constraint
        for constraint in specimen.table.constraints
        if isinstance(constraint, sa.CheckConstraint) and str(constraint.name).endswith(f"_{column}")
    ]

    for word in re.findall("'([a-z_]+)'", str(check.sqltext)):
        with database.engine.connect() as connection:  # each alone, and taken back
            connection.execute(
                sa.insert(specimen.table).values(specimen.changed(**{column: word}, **_of_open(table, word)))
            )
            connection.rollback()


def _of_open(table: str, word: str) -> dict[str, Cell]:
    return {"out_port": None} if (table, word) == ("node_states", "open") else {}


def test_an_open_state_has_no_port(database: Database) -> None:
    state = stored_specimens(database, before="node_states")["node_states"]

    refused(database, state, BROKEN_CHECK, status="open", out_port="out")


@pytest.mark.parametrize(
    ("table", "fresh"),
    [
        ("runs", {"run_id": "another"}),
        ("run_attempts", {"dagster_run_id": "another"}),
        ("node_executions", {"execution_id": "another"}),
        ("rows", {"row_id": "another"}),
        ("node_states", {"state_id": "another"}),
        ("calls", {"call_id": "another"}),
        ("routing_events", {"event_id": "another"}),
        ("token_outcomes", {"outcome_id": "another", "outcome": "failed"}),
    ],
)
def test_what_is_unique_is_unique_under_another_id_too(
    database: Database, table: str, fresh: dict[str, Cell]
) -> None:
    specimen = stored_specimens(database)[table]

    refused(database, specimen, BROKEN_UNIQUE, **fresh)


@pytest.mark.parametrize("table", EVIDENCE)
def test_an_id_is_given_once(database: Database, table: str) -> None:
    refused(database, stored_specimens(database)[table], BROKEN_UNIQUE)


def test_a_buffered_token_still_gets_its_one_terminal_outcome(database: Database) -> None:
    ended = stored_specimens(database, before="token_outcomes")["token_outcomes"]
    accepted(database, ended, outcome_id="1", outcome="buffered", is_terminal=False)

    accepted(database, ended)

    refused(database, ended, BROKEN_UNIQUE, outcome_id="2", outcome="discarded")


def test_order_keys_sort_as_bytes(database: Database) -> None:
    state = stored_specimens(database, before="node_states")["node_states"]
    keys = [b"\x00", b"\x00\x00", b"\x7f", b"\x80", b"\xff", b"\xff\x00"]
    for attempt, key in enumerate(reversed(keys), start=2):
        accepted(database, state, state_id=str(attempt), attempt=attempt, order_key=key)

    with database.read() as connection:
        order_key = schema.node_states.c.order_key
        found = connection.execute(sa.select(order_key).order_by(order_key)).scalars().all()

    assert found == keys
