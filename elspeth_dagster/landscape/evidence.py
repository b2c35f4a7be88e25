"""How a run's evidence is found, table by table: by run, or by the execution that made it final, in key order.

Tables that do not name their run are reached through the record that they belong to, so that every question is answered
by an index that other reads need as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.adoption import ADOPTED

PAGE: Final = 1_000  # records in memory at a time

OF_THE_GRAPH: Final[tuple[Table, ...]] = (schema.runs, schema.nodes, schema.edges)
"""What belongs to no execution: written when the run is registered."""

_OWNERS: Final[dict[str, tuple[Table, str]]] = {
    "token_parents": (schema.tokens, "token_id"),
    "calls": (schema.node_states, "state_id"),
    "routing_events": (schema.node_states, "state_id"),
    "batch_members": (schema.batches, "batch_id"),
    "batch_outputs": (schema.batches, "batch_id"),
    "validation_errors": (schema.rows, "row_id"),
}
"""Tables whose run is found through another: that table, and the column in which they agree."""

_NODE_COLUMNS: Final[dict[str, str]] = {
    "rows": "source_node_id",
    "node_states": "node_id",
    "coalesce_events": "node_id",
    "batches": "node_id",
    "artifacts": "node_id",
}
"""Where an index begins with run and node: what an execution writes there is of its own node."""

_NOT_OF_AN_EXECUTION: Final = frozenset({"run_attempts", "node_executions", "seals"})
OF_AN_EXECUTION: Final[tuple[Table, ...]] = tuple(
    table for table in schema.EVIDENCE if table not in OF_THE_GRAPH and table.name not in _NOT_OF_AN_EXECUTION
)
"""What an execution writes, less its own record."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Executions of one node whose records are looked at together."""

    run_id: str
    node_id: str
    execution_ids: tuple[str, ...]


def records_of(run_id: str, table: Table) -> sa.Select[*tuple[Any, ...]]:
    """Every record of a run in one evidence table, a page in memory at a time."""
    joined, owner = owned(table)
    of_run = owner.c.run_id == run_id
    return sa.select(table).select_from(joined).where(of_run).execution_options(yield_per=PAGE)


def owned(table: Table) -> tuple[sa.FromClause, Table]:
    """The table joined to the one that names its run, which may be itself."""
    if table.name not in _OWNERS:
        return table, table
    owner, column = _OWNERS[table.name]
    return table.join(owner, owner.c[column] == table.c[column]), owner


def hashes_of(connection: Connection, table: Table, scope: Scope) -> Iterable[bytes]:
    """The hashes of the closed records of ``scope`` in one table, in the order of their keys' bytes."""
    joined, owner = owned(table)
    where = [owner.c.run_id == scope.run_id]
    if table not in OF_THE_GRAPH:
        where.append(table.c.execution_id.in_(scope.execution_ids))
        where.append(table.c.record_hash.is_not(None))
    if owner.name in _NODE_COLUMNS:
        where.append(owner.c[_NODE_COLUMNS[owner.name]].in_(_written_for(scope)))
    question = (
        sa.select(table.c.record_hash)
        .select_from(joined)
        .where(*where)
        .order_by(*in_key_order(connection, table))
        .execution_options(yield_per=PAGE)
    )
    return connection.execute(question).scalars()


def _written_for(scope: Scope) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """The nodes that an execution writes records of: its own, and those that it adopted tokens of."""
    nodes = schema.nodes
    adopted = sa.select(nodes.c.node_id).where(nodes.c.run_id == scope.run_id, nodes.c.kind == ADOPTED)
    return sa.select(sa.literal(scope.node_id)).union_all(adopted)


def in_key_order(connection: Connection, table: Table) -> Sequence[sa.ColumnElement[Any]]:
    """The key's columns, compared as bytes on either database: a server's collation must not decide the order."""
    if connection.dialect.name == "sqlite":
        return list(table.primary_key.columns)
    return [
        sa.collate(column, "C") if isinstance(column.type, sa.Text) else column
        for column in table.primary_key.columns
    ]
