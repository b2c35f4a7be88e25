"""Give back the space that erased bodies took."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy.engine.interfaces import DBAPIConnection

from elspeth_dagster.landscape.database import Database

CONTENT_TABLES = ("payloads", "row_salts", "request_keys")


def forget_deleted(database: Database) -> None:
    """Move what was erased out of SQLite's log into the file, and empty the log: no old page stays behind.

    PostgreSQL does it by itself (autovacuum), in its own time.
    """
    if database.dialect == "sqlite":
        _outside_transactions(database, "PRAGMA wal_checkpoint(TRUNCATE)")


def vacuum(database: Database) -> None:
    """Give free space back to the disk. SQLite rewrites the whole file, and nobody can write meanwhile."""
    if database.dialect == "sqlite":
        _outside_transactions(database, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in CONTENT_TABLES:
            connection.exec_driver_sql(f"VACUUM {table}")


def size_of(database: Database) -> int | None:
    """The bytes of SQLite's file; None for a server."""
    return Path(str(database.url.database)).stat().st_size if database.dialect == "sqlite" else None


def _outside_transactions(database: Database, *statements: str) -> None:
    with closing(database.engine.raw_connection()) as pooled:
        connection = cast("DBAPIConnection", pooled)
        for statement in statements:
            with closing(connection.cursor()) as cursor:
                cursor.execute(statement)
                cursor.fetchall()
