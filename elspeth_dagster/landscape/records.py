"""Evidence records as tuples in schema order, the record hash last; and the statements that store them.

Tuples and raw statements, because a run writes several records a row: the driver takes them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sqlalchemy import Float, Table
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape import schema
from elspeth_dagster.model.canonical import record_hash

Cell = bool | int | float | str | bytes | None
Record = tuple[Cell, ...]

ROWS_AT_ONCE: Final = (1000, 100, 10)
"""Rows in one INSERT on SQLite, the most that fit first. After each statement the writer waits for the interpreter, up
to 5 ms while another thread computes, so a page of records goes in one. The widest has 25 columns: below the 32,766
parameters that SQLite takes."""

COMPARED_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "rows": ("row_id", "run_id", "source_node_id", "row_index", "out_port", "data_hash"),
    "tokens": ("token_id", "run_id", "row_id", "order_key", "branch", "created_by_node_id", "salt_id"),
    "token_parents": ("token_id", "parent_token_id", "ordinal", "relation"),
    "coalesce_events": (
        "event_id", "run_id", "node_id", "parent_token_id", "merged_token_id", "policy", "merge_strategy",
        "metadata_json",
    ),
    "batches": (
        "batch_id", "run_id", "node_id", "batch_index", "group_hash", "salt_id", "trigger_type", "member_count",
        "age_seconds",
    ),
    "batch_members": ("batch_id", "ordinal", "token_id"),
    "batch_outputs": ("batch_id", "ordinal", "token_id"),
    "token_outcomes": (
        "outcome_id", "run_id", "token_id", "outcome", "is_terminal", "node_id", "sink", "error_code",
    ),
    "validation_errors": ("error_id", "run_id", "row_id", "field", "expected", "actual_type", "code"),
}  # fmt: skip
"""What must agree when a later execution writes the same record again; elsewhere the whole record must."""


@dataclass(slots=True)
class Unit:
    """Records that become durable together, or not at all."""

    inserts: dict[str, list[Record]] = field(default_factory=dict)
    closings: dict[str, list[Record]] = field(default_factory=dict)
    derived: list[Callable[[Connection], object]] = field(default_factory=list)

    def insert(self, table: str, record: Record) -> None:
        """Add a new record."""
        self.inserts.setdefault(table, []).append(record)

    def close(self, table: str, record: Record) -> None:
        """Close an open record: ``record`` is its final form, whole."""
        self.closings.setdefault(table, []).append(record)

    def derive(self, write: Callable[[Connection], object]) -> None:
        """Add a record that depends on what others wrote: ``write`` is called last, each time the unit is stored."""
        self.derived.append(write)

    def absorb(self, other: Unit) -> None:
        """Take over another unit's records."""
        for table, records in other.inserts.items():
            self.inserts.setdefault(table, []).extend(records)
        for table, records in other.closings.items():
            self.closings.setdefault(table, []).extend(records)
        self.derived.extend(other.derived)

    def __len__(self) -> int:
        kinds = (*self.inserts.values(), *self.closings.values())
        return sum(len(records) for records in kinds)


def sealed(table: str, *cells: Cell) -> Record:
    """A final evidence record: ``cells`` are its columns in schema order, without the hash."""
    kept = _as_kept(table, cells)
    return (*kept, record_hash(table, kept))


def opened(*cells: Cell) -> Record:
    """An open evidence record: its hash is set when it closes."""
    return (*cells, None)


def closed(table: str, record: Sequence[Cell], **changes: Cell) -> Record:
    """The final form of the open ``record`` of ``table``, with these columns changed."""
    positions = _positions(table)
    cells = list(record[:-1])
    for column, cell in changes.items():
        cells[positions[column]] = cell
    kept = _as_kept(table, cells)
    return (*kept, record_hash(table, kept))


def _as_kept(table: str, cells: Sequence[Cell]) -> Sequence[Cell]:
    """The cells as the database gives them back, and so as they are hashed.

    A column of fractions turns 5 into 5.0, and SQLite's -0.0 into 0.0; adding 0.0 does both.
    """
    fractions = _fractions(table)
    for index in fractions:
        if cells[index].__class__ is not float or not cells[index]:
            break
    else:
        return cells  # as nearly always
    kept = list(cells)
    for index in fractions:
        if isinstance(cell := kept[index], int | float):
            kept[index] = cell + 0.0
    return kept


@cache
def _fractions(table: str) -> tuple[int, ...]:
    columns = schema.metadata.tables[table].columns
    return tuple(index for index, column in enumerate(columns) if isinstance(column.type, Float))


@cache
def _positions(table: str) -> dict[str, int]:
    return {column.name: index for index, column in enumerate(schema.metadata.tables[table].columns)}


@dataclass(frozen=True, slots=True)
class Statements:
    """One table's statements in one dialect's parameter style, and how a record feeds them."""

    table: str
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    insert: str
    insert_many: tuple[tuple[int, str], ...]
    copy: str
    close: str | None
    select: str
    _closing_cells: tuple[int, ...]
    _key_cells: tuple[int, ...]

    def closing_parameters(self, record: Record) -> Record:
        """The cells that the closing statement takes: what it sets, then the key."""
        return tuple(record[index] for index in self._closing_cells)

    def key(self, record: Sequence[Cell]) -> Record:
        """The record's primary key."""
        return tuple(record[index] for index in self._key_cells)


@cache
def statements(table_name: str, dialect: str) -> Statements:
    """The statements of a table. ``dialect`` is ``sqlite`` or ``postgresql``."""
    table: Table = schema.metadata.tables[table_name]
    mark = "?" if dialect == "sqlite" else "%s"
    columns = tuple(column.name for column in table.columns)
    keys = tuple(column.name for column in table.primary_key.columns)
    where = " AND ".join(f"{key} = {mark}" for key in keys)
    closing = schema.CLOSING_COLUMNS.get(table_name)
    close: str | None = None
    cells: tuple[int, ...] = ()
    if closing is not None:
        sets = ", ".join(f"{name} = {mark}" for name in closing)
        open_status = schema.OPEN_STATUS[table_name]
        close = f"UPDATE {table_name} SET {sets} WHERE {where} AND status = '{open_status}'"  # noqa: S608 - our own names
        cells = tuple(columns.index(name) for name in (*closing, *keys))
    marks = ", ".join([mark] * len(columns))
    return Statements(
        table=table_name,
        columns=columns,
        key_columns=keys,
        insert=_insert(table_name, columns, keys, f"({marks})"),
        insert_many=tuple(
            (rows, _insert(table_name, columns, keys, ", ".join([f"({marks})"] * rows)))
            for rows in ROWS_AT_ONCE
        ),
        copy=f"COPY {table_name} ({', '.join(columns)}) FROM STDIN",
        close=close,
        select=f"SELECT {', '.join(columns)} FROM {table_name} WHERE {where}",  # noqa: S608
        _closing_cells=cells,
        _key_cells=tuple(columns.index(key) for key in keys),
    )


def _insert(table: str, columns: Sequence[str], keys: Sequence[str], values: str) -> str:
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values} "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    )
