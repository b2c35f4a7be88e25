"""Whether a database of this version is whole: every table, column, key, check, index and trigger as the code has them.

A CHECK is compared by the values that it names and a trigger by the columns that it guards, since each database words
them in its own way. What is there beyond ours is left alone, but for triggers: they could change records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.reflection import Inspector

from elspeth_dagster.landscape import schema

PAGES_BYTES_MAX: Final = 16 * 1024 * 1024
"""A SQLite file up to this size has its pages looked through whenever it is opened, in some 30 ms; else on demand."""

SHOWN_MAX: Final = 3

_LITERAL: Final = re.compile(r"'([^']*)'")
_GUARDED: Final = re.compile(r"\bnew\.\"?(\w+)", re.IGNORECASE)

Parts = dict[str, object]


def damage_of(connection: Connection) -> list[str]:
    """What is missing or changed, each as one sentence without its full stop; empty if nothing is."""
    inspector = sa.inspect(connection)
    tables = set(inspector.get_table_names())
    damage = [f"table {name} is missing" for name in schema.metadata.tables if name not in tables]
    if damage:
        return damage  # what hangs on them is missing too
    for kind, expected, found in (
        ("column", _columns_expected(), _columns_found(inspector)),
        ("check", _checks_expected(), _checks_found(inspector)),
        ("foreign key", _keys_expected(), _keys_found(inspector)),
        ("index", _indexes_expected(), _indexes_found(inspector)),
        ("trigger", _triggers_expected(connection.dialect.name), _triggers_found(connection)),
    ):
        damage += _differences(kind, expected, found)
    return damage


def damage_of_pages(connection: Connection, *, always: bool = False) -> list[str]:
    """What SQLite finds wrong in the file itself; only small files are looked through unless ``always``."""
    if connection.dialect.name != "sqlite":
        return []
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    page_bytes = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    if not always and pages * page_bytes > PAGES_BYTES_MAX:
        return []
    check = "integrity_check" if always else "quick_check"
    said = [str(line) for line in connection.exec_driver_sql(f"PRAGMA {check}({SHOWN_MAX})").scalars()]
    damage = [" ".join(line.split()) for line in said if line != "ok"]
    if always:
        rows = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(SHOWN_MAX)
        damage += [
            f"a record of {table} refers to one of {parent} that is not there" for table, _, parent, _ in rows
        ]
    return damage


def told(damage: list[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(damage) - SHOWN_MAX
    return "; ".join(damage[:SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")


def _differences(kind: str, expected: Parts, found: Parts) -> Iterator[str]:
    for name, value in expected.items():
        if name not in found:
            yield f"{kind} {name} is missing"
        elif found[name] != value:
            yield f"{kind} {name} is not as it was made"
    if kind == "trigger":
        yield from (f"trigger {name} is none of ours" for name in found if name not in expected)


# Columns, checks, keys, indexes ------------------------------------------------------------------------------------


def _columns_expected() -> Parts:
    return {
        f"{table.name}.{column.name}": column.nullable
        for table in schema.metadata.tables.values()
        for column in table.columns
    }


def _columns_found(inspector: Inspector) -> Parts:
    tables: Any = inspector.get_multi_columns()
    return {
        f"{name}.{one['name']}": one["nullable"] for (_, name), columns in tables.items() for one in columns
    }


def _checks_expected() -> Parts:
    return {
        str(one.name): sorted(_LITERAL.findall(str(one.sqltext)))
        for table in schema.metadata.tables.values()
        for one in table.constraints
        if isinstance(one, sa.CheckConstraint)
    }


def _checks_found(inspector: Inspector) -> Parts:
    tables: Any = inspector.get_multi_check_constraints()
    return {
        str(one["name"]): sorted(_LITERAL.findall(one["sqltext"]))
        for checks in tables.values()
        for one in checks
    }


def _keys_expected() -> Parts:
    return {
        str(one.name): (one.column_keys, one.referred_table.name)
        for table in schema.metadata.tables.values()
        for one in table.constraints
        if isinstance(one, sa.ForeignKeyConstraint)
    }


def _keys_found(inspector: Inspector) -> Parts:
    tables: Any = inspector.get_multi_foreign_keys()
    return {
        str(one["name"]): (one["constrained_columns"], one["referred_table"])
        for keys in tables.values()
        for one in keys
    }


def _indexes_expected() -> Parts:
    found: Parts = {}
    for table in schema.metadata.tables.values():
        for index in table.indexes:
            found[str(index.name)] = ([column.name for column in index.columns], bool(index.unique))
        for one in table.constraints:
            if isinstance(one, sa.UniqueConstraint):
                found[str(one.name)] = ([column.name for column in one.columns], True)
    return found


def _indexes_found(inspector: Inspector) -> Parts:
    indexes: Any = inspector.get_multi_indexes()
    uniques: Any = inspector.get_multi_unique_constraints()
    found: Parts = {
        str(one["name"]): (one["column_names"], bool(one["unique"]))
        for several in indexes.values()
        for one in several
    }
    return found | {
        str(one["name"]): (one["column_names"], True) for several in uniques.values() for one in several
    }


# Triggers -----------------------------------------------------------------------------------------------------------


def _triggers_expected(dialect: str) -> Parts:
    found: Parts = {}
    for table in schema.EVIDENCE:
        closing = schema.CLOSING_COLUMNS.get(table.name)
        kept = {column.name for column in table.columns if column.name not in (closing or ())}
        found[f"{table.name}_refuses_delete"] = []
        found[f"{table.name}_refuses_update"] = sorted(kept | {"status"}) if closing else []
        if dialect == "postgresql":
            found[f"{table.name}_refuses_truncate"] = []
    return found


def _triggers_found(connection: Connection) -> Parts:
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql, 'O' FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = (
            "SELECT t.tgname, pg_get_triggerdef(t.oid), t.tgenabled FROM pg_trigger t JOIN pg_class c "
            "ON c.oid = t.tgrelid WHERE NOT t.tgisinternal "
            "AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
        )
    found: Parts = {}
    for name, definition, enabled in connection.exec_driver_sql(query):
        guarded = sorted({column.lower() for column in _GUARDED.findall(definition)})
        is_ours = "write-once" in definition or "elspeth_refuse()" in definition
        state = enabled if isinstance(enabled, str) else bytes(enabled).decode()
        found[str(name)] = guarded if is_ours and state == "O" else "disabled or replaced"
    return found
