"""Store one unit of records in one transaction: idempotent, compared, fenced.

The same unit can be sent again after a lost answer: ids are deterministic, an id that is there already is compared with
what was to be written, and a difference is loud and final.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from elspeth_dagster.errors import AuditConflictError, FenceLostError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.copying import copied
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import (
    COMPARED_COLUMNS,
    Cell,
    Record,
    Statements,
    Unit,
    statements,
)

_TABLE_ORDER: Final = tuple(table.name for table in schema.metadata.sorted_tables)
_CONTENT: Final = frozenset(table.name for table in schema.CONTENT)


def store(connection: Connection, unit: Unit) -> None:
    """Write ``unit``: inserts in the schema's order, then closings, each table in key order; last what is derived.

    Raises:
        AuditConflictError: an id was recorded before with another content, or a record to close is not open.
    """
    dialect = connection.dialect.name
    try:
        for table in _TABLE_ORDER:
            if records := unit.inserts.get(table):
                _insert(connection, statements(table, dialect), records, unit.closings.get(table, []))
        for table in _TABLE_ORDER:
            if records := unit.closings.get(table):
                _close(connection, statements(table, dialect), records)
        for derive in unit.derived:
            derive(connection)
    except IntegrityError as error:
        raise AuditConflictError(
            f"The Landscape refused a record: {error.orig}",
            hint="two writers recorded different things under one key; run `elspeth-dagster verify`",
        ) from error


def check_fence(connection: Connection, execution: ExecutionHandle) -> None:
    """Make sure, inside the writing transaction, that this execution still holds its node.

    Raises:
        FenceLostError: another execution has taken over.
    """
    lock = " FOR SHARE" if connection.dialect.name == "postgresql" else ""
    mark = "%s" if lock else "?"
    holder = connection.exec_driver_sql(
        f"SELECT execution_id FROM fences WHERE run_id = {mark} AND node_id = {mark}{lock}",  # noqa: S608
        (execution.run_id, execution.node_id),
    ).scalar()
    if holder is None:  # nobody deletes one: what was opened is no more what it was
        raise FenceLostError(
            f"The Landscape does not know execution {execution.execution_id} any more: it was restored or replaced.",
            where=f"run {execution.run_id}, node {execution.node_id}",
            hint="put back the Landscape that the run began with and resume, or start a new run",
        )
    if holder != execution.execution_id:
        raise FenceLostError(
            f"Execution {execution.execution_id} has lost its node to {holder}: it must not write any more.",
            where=f"run {execution.run_id}, node {execution.node_id}",
            hint="nothing is lost: the execution that took over has the work",
        )


def _insert(connection: Connection, to: Statements, records: list[Record], closings: list[Record]) -> None:
    if connection.dialect.name == "postgresql":
        # In key order: two transactions that store the same keys then wait for each other in one direction only.
        records = sorted(records, key=to.key)
    written = _written(connection, to, records)
    if written != len(records) and to.table not in _CONTENT:
        finals = {to.key(record): record for record in closings}
        for record in records:
            _compare(connection, to, record, or_final=finals.get(to.key(record)))


def _written(connection: Connection, to: Statements, records: list[Record]) -> int:
    """Insert, and count what was new. SQLite takes many rows in one statement; the rest goes one by one."""
    if copied(connection, to, records):
        return len(records)
    written, start = 0, 0
    if connection.dialect.name == "sqlite":
        for rows, statement in to.insert_many:
            while len(records) - start >= rows:
                cells = tuple(chain.from_iterable(records[start : start + rows]))
                written += connection.exec_driver_sql(statement, cells).rowcount
                start += rows
    if start < len(records):
        written += connection.exec_driver_sql(to.insert, records[start:]).rowcount
    return written


def _close(connection: Connection, to: Statements, records: list[Record]) -> None:
    assert to.close is not None  # noqa: S101 - units close only what can be closed
    records = sorted(records, key=to.key)
    closed = connection.exec_driver_sql(
        to.close, [to.closing_parameters(record) for record in records]
    ).rowcount
    if closed != len(records):
        for record in records:
            _compare(connection, to, record)


def _compare(
    connection: Connection, to: Statements, record: Record, *, or_final: Record | None = None
) -> None:
    """Make sure that what is there is ``record``; or its final form, where the unit was stored once already."""
    key = to.key(record)
    found = connection.exec_driver_sql(to.select, key).first()
    if found is None:
        raise AuditConflictError(
            f"Record {_shown(key)} of {to.table} was to be closed, but is not there.",
            where=f"table {to.table}",
        )
    other = _difference(to, record, found)
    if other is None or (or_final is not None and _difference(to, or_final, found) is None):
        return
    raise AuditConflictError(
        f"Record {_shown(key)} of {to.table} is there already, with another {other}.",
        where=f"table {to.table}",
        hint="the input or the decision changed since it was recorded; start a new run",
    )


def _difference(to: Statements, record: Record, found: Sequence[Cell]) -> str | None:
    """The first compared column in which they differ."""
    compared = COMPARED_COLUMNS.get(to.table, to.columns)
    for name, wrote, there in zip(to.columns, record, found, strict=True):
        if wrote != there and name in compared:
            return name
    return None


def _shown(key: Record) -> str:
    return ", ".join(str(part) for part in key)
