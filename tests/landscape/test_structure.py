"""A Landscape that lost a part, or has one changed, is refused before the first row and left as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import SchemaVersionError
from elspeth_dagster.landscape import schema, structure
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.migrate import upgrade
from elspeth_dagster.landscape.structure import damage_of, damage_of_pages, told
from tests.landscape.conftest import NewUrl

CHANGED_CHECK = {
    "sqlite": [
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = replace(sql, '''interrupted''', '''abandoned''') WHERE name = 'node_states'",
    ],
    "postgresql": [
        "ALTER TABLE node_states DROP CONSTRAINT ck_node_states_status",
        "ALTER TABLE node_states ADD CONSTRAINT ck_node_states_status CHECK (status IN ('open', 'completed'))",
    ],
}
DROPPED_TRIGGER = {
    "sqlite": ["DROP TRIGGER calls_refuses_delete"],
    "postgresql": ["DROP TRIGGER calls_refuses_delete ON calls"],
}
REPLACED_TRIGGER = {
    "sqlite": [
        "DROP TRIGGER rows_refuses_update",
        "CREATE TRIGGER rows_refuses_update BEFORE UPDATE ON rows BEGIN SELECT 1; END",
    ],
    "postgresql": ["ALTER TABLE rows DISABLE TRIGGER rows_refuses_update"],
}
WEAKER_TRIGGER = {
    "sqlite": [
        "DROP TRIGGER calls_refuses_update",
        (
            "CREATE TRIGGER calls_refuses_update BEFORE UPDATE ON calls WHEN NEW.status = OLD.status "
            "BEGIN SELECT RAISE(ABORT, 'evidence is write-once'); END"
        ),
    ],
    "postgresql": [
        "DROP TRIGGER calls_refuses_update ON calls",
        (
            "CREATE TRIGGER calls_refuses_update BEFORE UPDATE ON calls FOR EACH ROW WHEN (NEW.status = OLD.status) "
            "EXECUTE FUNCTION elspeth_refuse()"
        ),
    ],
}
FOREIGN_TRIGGER = {
    "sqlite": ["CREATE TRIGGER theirs AFTER INSERT ON rows BEGIN SELECT 1; END"],
    "postgresql": [
        "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER theirs AFTER INSERT ON rows FOR EACH ROW EXECUTE FUNCTION theirs()",
    ],
}


def both(*statements: str) -> dict[str, list[str]]:
    return {"sqlite": list(statements), "postgresql": list(statements)}


DAMAGES = [
    (both("DROP TABLE request_keys"), "table request_keys is missing"),
    (both("DROP INDEX uq_token_outcomes_terminal"), "index uq_token_outcomes_terminal is missing"),
    (both("ALTER TABLE purges DROP COLUMN bodies"), "column purges.bodies is missing"),
    (DROPPED_TRIGGER, "trigger calls_refuses_delete is missing"),
    (REPLACED_TRIGGER, "trigger rows_refuses_update is not as it was made"),
    (WEAKER_TRIGGER, "trigger calls_refuses_update is not as it was made"),
    (FOREIGN_TRIGGER, "trigger theirs is none of ours"),
    (CHANGED_CHECK, "check ck_node_states_status is not as it was made"),
]


@pytest.fixture
def own(new_empty_url: NewUrl) -> Database:
    """A Landscape that nobody else will use."""
    database = Database(new_empty_url())
    database.ensure_schema()
    return database


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[said for _, said in DAMAGES])
def test_what_is_missing_or_changed_is_named_and_nothing_is_written(
    own: Database, damage: dict[str, list[str]], said: str, tmp_path: Path
) -> None:
    with own.write() as connection:
        for statement in damage[own.dialect]:
            connection.exec_driver_sql(statement)
    own.dispose()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}

    with pytest.raises(SchemaVersionError, match="is damaged: ") as refused:
        own.ensure_schema()
    own.dispose()

    assert said in str(refused.value)
    assert "restore it from a copy" in str(refused.value)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.db")} == before


def test_a_whole_landscape_has_no_damage(database: Database) -> None:
    with database.read() as connection:
        assert damage_of(connection) == []
        assert damage_of_pages(connection, always=True) == []


@pytest.mark.parametrize("version", ["9999", "0000"])
def test_a_version_that_is_not_known_is_not_upgraded(own: Database, version: str) -> None:
    with own.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    with pytest.raises(SchemaVersionError, match="does not know"):
        upgrade(own)

    assert own.revision() == version
    own.dispose()


@pytest.mark.parametrize("size_max", [0, structure.PAGES_BYTES_MAX])
def test_a_page_of_garbage_is_found_when_a_small_file_is_opened_and_always_on_demand(
    tmp_path: Path, size_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "landscape.db"
    database = Database(f"sqlite:///{path}")
    database.ensure_schema()
    database.dispose()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'calls'").fetchone()
    body = bytearray(path.read_bytes())
    body[(root - 1) * 16_384 : root * 16_384] = b"\xee" * 16_384
    path.write_bytes(body)
    monkeypatch.setattr(structure, "PAGES_BYTES_MAX", size_max)

    if size_max:
        with pytest.raises(SchemaVersionError):
            database.ensure_schema()
    else:
        database.ensure_schema()  # too large to be looked through at each start
    with pytest.raises(SchemaVersionError):
        database.refuse_damage(every_page=True)

    database.dispose()
    assert path.read_bytes() == body


def test_many_damages_are_told_in_one_line() -> None:
    assert told(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
    assert len(schema.metadata.tables) > 20
