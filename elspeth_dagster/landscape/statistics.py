"""What PostgreSQL's planner knows of tables that a run has just filled.

Its own daemon looks after that within a minute, or, where a run is a small part of what is there, much later. Whoever
asks about the whole run before it did gets plans for a run of which nothing is known, that compare all with all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import node_executions

ROWS_MIN: Final = 2_000
"""Rows at a node, over all its executions, below which any plan will do."""

_LARGE = """
SELECT relname FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r'
  AND relname = ANY(%s)
  AND pg_relation_size(oid) > 100 * current_setting('block_size')::int
"""
"""Tables for which it matters."""


def refresh_statistics(database: Database, run_id: str) -> None:
    """Have the tables looked at that a large run has filled; nothing on SQLite.

    It only makes what follows quicker: where it fails, or the role may not have it done, the run goes on without.
    """
    if database.dialect != "postgresql":
        return
    with suppress(LandscapeError, SQLAlchemyError):
        for name in _large_tables(database, run_id):
            with database.write() as connection:
                connection.exec_driver_sql(f"ANALYZE {name}")


def _large_tables(database: Database, run_id: str) -> Sequence[str]:
    of_node = (
        sa.select(sa.func.sum(node_executions.c.rows_in).label("rows"))
        .where(node_executions.c.run_id == run_id)
        .group_by(node_executions.c.node_id)
        .subquery()
    )
    names = [table.name for table in schema.metadata.sorted_tables]
    with database.read() as connection:
        if (connection.execute(sa.select(sa.func.max(of_node.c.rows))).scalar() or 0) < ROWS_MIN:
            return ()
        return connection.exec_driver_sql(_LARGE, (names,)).scalars().all()
