"""What PostgreSQL's planner knows of tables that a run has just filled.

Its own daemon looks after that within a minute, or, where a run is a small part of what is there, much later. Whoever
asks about the whole run before it did gets plans for a run of which nothing is known, that compare all with all.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_executions

ROWS_MIN: Final = 2_000
"""Rows at one node below which any plan will do."""

_LARGE = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY(%s)
  AND pg_relation_size(oid) > 100 * current_setting('block_size')::int
"""
"""Tables for which it matters."""


@patient
def refresh_statistics(database: Database, run_id: str) -> None:
    """Have the tables looked at that a large run has filled; nothing on SQLite, nothing of what others look at now.

    A role that may not have this done is told so in the server's log, and goes on.
    """
    if database.dialect != "postgresql":
        return
    rows = sa.select(sa.func.max(node_executions.c.rows_in)).where(node_executions.c.run_id == run_id)
    names = [table.name for table in schema.metadata.sorted_tables]
    with database.read() as connection:
        if (connection.execute(rows).scalar() or 0) < ROWS_MIN:
            return
        large = connection.exec_driver_sql(_LARGE, (names,)).scalars().all()
    for name in large:
        with database.write() as connection:
            connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {name}")
