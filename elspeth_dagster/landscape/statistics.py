"""What PostgreSQL's planner knows of tables that a run has just filled.

Its own daemon looks after that within a minute or so. Who asks about a whole run before it did gets plans for empty
tables, and a question of a second may take an hour.
"""

from __future__ import annotations

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database

_STALE = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY(%s)
  AND pg_relation_size(oid) > 100 * current_setting('block_size')::int
  AND (reltuples < 0 OR pg_relation_size(oid) > 2 * relpages::bigint * current_setting('block_size')::int)
"""
"""Never looked at, or grown to more than twice of what was seen; small ones do not matter."""


def refresh_statistics(database: Database) -> None:
    """Have the tables looked at that grew much since; nothing on SQLite, and nothing of what somebody else looks at."""
    if database.dialect != "postgresql":
        return
    names = [table.name for table in schema.metadata.sorted_tables]
    with database.write() as connection:
        stale = connection.exec_driver_sql(_STALE, (names,)).scalars().all()
        for name in stale:
            connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {name}")
