"""The engine of one Landscape, SQLite or PostgreSQL, with what each needs to be safe.

SQLite: write-ahead log, foreign keys on, `synchronous=FULL`, and writing transactions that begin IMMEDIATE (a deferred
one that reads and then writes fails with "database is locked" whatever the time-out). PostgreSQL: psycopg 3.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import NoSuchModuleError

from elspeth_dagster.errors import LandscapeUnavailableError
from elspeth_dagster.landscape.same_file import keep_to_its_file
from elspeth_dagster.landscape.url import bad_url

BUSY_TIMEOUT_MS: Final = 30_000
"""Several processes write at once; a group commit takes milliseconds, a checkpoint more."""

PAGE_BYTES: Final = 16_384  # fewer, wider pages: a row's record and its bodies mostly fit one
CACHE_KIB: Final = 16_384  # for each connection; no slower than more, since keys come in row order
WRITE_OPTION: Final = "elspeth_write"
WAL_TRIES_MAX: Final = 50  # with the wait below: half a second, for a step of some milliseconds
WAL_WAIT_S: Final = 0.01

_LIBPQ_OPTIONS: Final = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 30,  # s
    "keepalives_interval": 10,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms that sent bytes may go unacknowledged
}

# For every value that is bytes the driver looks for an adapter, and having none takes it a quarter of a microsecond: a
# tenth of what storing a row takes. This one gives the same object back.
sqlite3.register_adapter(bytes, bytes)


def make_engine(url: URL) -> Engine:
    """An engine whose connections are made ready for a Landscape.

    Raises:
        LandscapeUnavailableError: a driver is missing, or the URL names no place for a file.
    """
    if url.get_backend_name() == "sqlite":
        _make_folder(url)
    try:
        if url.get_backend_name() == "sqlite":
            # Parameters would stand in errors, which others log: rows are in them.
            engine = sa.create_engine(url, hide_parameters=True)
        else:
            options = _libpq_options(url)
            engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise LandscapeUnavailableError(
            f"The database's driver is not installed: {error}",
            where=url.drivername,
            hint="pip install 'elspeth_dagster[postgres]'",
        ) from error
    if url.get_backend_name() == "sqlite":
        keep_to_its_file(engine)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _libpq_options(url: URL) -> dict[str, int]:
    """What notices a server that is gone without a word; the URL may say otherwise."""
    return {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    """Nobody waits for a lock for ever: a rival that is stopped in its transaction is a failure that may pass."""
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    cursor.close()
    connection.commit()


def _make_folder(url: URL) -> None:
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise bad_url("The Landscape needs a file: what is only in memory proves nothing later.")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandscapeUnavailableError(
            f"The Landscape's folder cannot be made: {error.strerror}",
            where=str(Path(url.database).parent),
            hint="choose a path that can be written with --landscape",
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(
        "PRAGMA recursive_triggers=ON"
    )  # so that REPLACE cannot delete behind the triggers' back
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Give a new file its journal mode. The mode is kept in the file, and any other file may be somebody else's."""
    for tries_left in range(WAL_TRIES_MAX - 1, -1, -1):
        try:
            if _is_new(connection):
                connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Another process gives it at this moment; here SQLite fails at once, whatever the time-out.
            if not tries_left or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(WAL_WAIT_S)
        else:
            return


def _is_new(connection: sqlite3.Connection) -> bool:
    """Whether the file is empty. SQLite takes one that is shorter than a page for empty, and would write over it."""
    _, _, path = connection.execute("PRAGMA database_list").fetchone()
    size_bytes = Path(path).stat().st_size  # before the pages: another process may be making the first one
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if size_bytes and not pages:
        raise sqlite3.DatabaseError("file is not a database")
    return not pages


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITE_OPTION, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
