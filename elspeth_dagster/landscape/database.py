"""One connection pool to one Landscape, SQLite or PostgreSQL, with what each needs to be safe.

SQLite: write-ahead log, foreign keys on, `synchronous=FULL`, and writing transactions that begin IMMEDIATE (a deferred
one that reads and then writes fails with "database is locked" whatever the time-out). PostgreSQL: psycopg 3, and reads
that are REPEATABLE READ. A database that is somebody else's is looked at, and left as it was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)

from elspeth_dagster.errors import LandscapeUnavailableError, SchemaVersionError
from elspeth_dagster.landscape.schema import REVISION, metadata
from elspeth_dagster.landscape.structure import damage_of, damage_of_pages, told

BUSY_TIMEOUT_MS: Final = (
    30_000  # several processes write at once; a group commit takes milliseconds, a checkpoint more
)
PAGE_BYTES: Final = 16_384  # fewer, wider pages: a row's record and its bodies mostly fit one
CACHE_KIB: Final = 65_536  # bounded, and flat as the table grows: keys come in row order
WRITE_OPTION: Final = "elspeth_write"
WAL_TRIES_MAX: Final = 50  # with the wait below: half a second, for a step of some milliseconds
WAL_WAIT_S: Final = 0.01
ALONE_LOCK: Final = 0x5EED_1A5D  # the number of PostgreSQL's advisory lock for `Database.alone`
SECRET_OPTIONS: Final = ("password", "sslpassword")  # libpq takes them in a URL's query too

_LIBPQ_OPTIONS: Final = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 30,  # s
    "keepalives_interval": 10,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms that sent bytes may go unacknowledged
}
_OWN_TABLES: Final = frozenset(metadata.tables)
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}


# For every value that is bytes the driver looks for an adapter, and having none takes it a quarter of a microsecond: a
# tenth of what storing a row takes. This one gives the same object back.
sqlite3.register_adapter(bytes, bytes)


class Database:
    """An engine and the two kinds of transaction that the Landscape uses.

    ``patience_s`` is how long the reads of a running node wait for a database that is away (``patience.patient``).
    """

    def __init__(self, url: str, *, patience_s: float = 0.0) -> None:
        self.url = parsed_url(url)
        self.patience_s = patience_s
        self.engine = _engine(self.url)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return _shown(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view."""
        with self._failures_named(), self.engine.connect() as connection:
            reading = connection
            if self.dialect == "postgresql":
                reading = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with reading.begin():
                yield reading

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; commits at the end, rolls back on an exception."""
        with self._failures_named(), self.engine.connect() as connection:
            writing = connection.execution_options(**{WRITE_OPTION: True})
            with writing.begin():
                yield writing

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A writing transaction beside which no other of this kind runs: for what reads first and decides on it.

        SQLite has one writer at a time anyway. PostgreSQL would let two of them read the same and both decide.
        """
        with self.write() as connection:
            if self.dialect == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ALONE_LOCK})")
            yield connection

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except (
            OperationalError,
            InterfaceError,
        ) as error:  # the latter of a connection that is closed already
            is_full = is_out_of_space(error)
            raise LandscapeUnavailableError(
                f"The Landscape {'has no space left' if is_full else 'cannot be used'}: {error.orig}",
                where=self.shown_url,
                hint="free some space, then resume: what is recorded stays, and nothing else was decided"
                if is_full
                else "check that the path or server exists, has space, and can be written",
            ) from error
        except DatabaseError as error:
            if error.statement is None and self.dialect == "postgresql":
                raise LandscapeUnavailableError(
                    f"The Landscape cannot be connected to: {error.orig}",
                    where=self.shown_url,
                    hint="check the options in the URL",
                ) from error
            if "not a database" in str(error.orig) or "malformed" in str(error.orig):
                raise SchemaVersionError(
                    f"This is no readable SQLite database: {error.orig}",
                    where=self.shown_url,
                    hint="name another file, or restore this one from a copy",
                ) from error
            raise

    # The schema's version --------------------------------------------------------------------------------------------

    def revision(self) -> str | None:
        """The migration that the database is of; None if it is empty.

        Raises:
            SchemaVersionError: it holds tables of something else.
        """
        with self.read() as connection:
            names = set(sa.inspect(connection).get_table_names())
            if "alembic_version" in names and len(names & _OWN_TABLES) > len(_OWN_TABLES) // 2:
                version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
                return "no version at all" if version is None else str(version)
        if names:
            raise SchemaVersionError(
                "The database holds tables of something else.",
                where=self.shown_url,
                hint="name an empty database, or a Landscape",
            )
        return None

    def ensure_schema(self) -> None:
        """Create the tables in an empty database; accept a whole one of this version; refuse any other, untouched.

        Raises:
            SchemaVersionError: it is of another version, of something else, or damaged.
        """
        found = self.revision()
        if found is None:
            from elspeth_dagster.landscape.migrate import upgrade  # noqa: PLC0415 - alembic is slow to import

            upgrade(self)
        elif found != REVISION:
            raise SchemaVersionError(
                f"The Landscape is of version {found}; this package needs {REVISION}.",
                where=self.shown_url,
                hint="run `elspeth-dagster db upgrade`, or use the package version that wrote it",
            )
        else:
            self.refuse_damage()

    def refuse_damage(self, *, every_page: bool = False) -> None:
        """Look whether a database of this version is whole; with ``every_page``, through a SQLite file of any size.

        Raises:
            SchemaVersionError: something is missing, changed or unreadable.
        """
        with self.read() as connection:
            damage = damage_of(connection) or damage_of_pages(connection, always=every_page)
        if damage:
            raise SchemaVersionError(
                f"The Landscape is damaged: {told(damage)}.",
                where=self.shown_url,
                hint="restore it from a copy, or name another one; nothing was written to it",
            )


def parsed_url(url: str) -> URL:
    """The URL with the driver that is used: the standard library's for SQLite, psycopg 3 for PostgreSQL.

    Raises:
        LandscapeUnavailableError: it is no URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what cannot be parsed may hold a password: its text goes no further
        raise _bad_url("The Landscape's URL cannot be read.") from None
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        raise _bad_url(f"The Landscape lives in SQLite or PostgreSQL, not {backend!r}.")
    return parsed.set(drivername=_DRIVERS[backend])


def shown_url(url: str) -> str:
    """A URL without its password; what cannot be read is not shown at all."""
    try:
        return _shown(make_url(url))
    except (ArgumentError, ValueError):
        return "(a URL that cannot be read)"


def url_secrets(url: str) -> tuple[str, ...]:
    """The passwords in a URL, whether they stand before the host or among the options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return ()
    options = [parsed.query.get(name, ()) for name in SECRET_OPTIONS]
    several = [one for option in options for one in ((option,) if isinstance(option, str) else option)]
    return tuple(filter(None, [parsed.password, *several]))


def _shown(url: URL) -> str:
    return url.difference_update_query(SECRET_OPTIONS).render_as_string(hide_password=True)


def _bad_url(what: str) -> LandscapeUnavailableError:
    return LandscapeUnavailableError(
        what,
        where="--landscape or ELSPETH_LANDSCAPE_URL",
        hint="write sqlite:///path/to/landscape.db or postgresql+psycopg://user@host/name",
    )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        _make_folder(url)
    try:
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                url, hide_parameters=True
            )  # in errors, which others log: rows are in them
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
        raise _bad_url("The Landscape needs a file: what is only in memory proves nothing later.")
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


def is_out_of_space(error: DBAPIError) -> bool:
    """Whether the disk under the database is full."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0)
        return code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
    return getattr(error.orig, "sqlstate", None) == "53100"


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may succeed when sent again: a lock, a serialization failure, a lost connection."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        sqlite_code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        return sqlite_code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    code = getattr(error.orig, "sqlstate", None)
    if code is None:  # no answer from the server at all: it restarts, or another takes its place
        return isinstance(error, OperationalError)
    return code in {"40001", "40P01", "55P03"} or code.startswith(("08", "57P"))
