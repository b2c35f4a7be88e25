"""One Landscape, SQLite or PostgreSQL: its transactions, and whether its tables are ours and whole.

PostgreSQL's reads are REPEATABLE READ. A database that is somebody else's is looked at, and left as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import SchemaVersionError
from elspeth_dagster.landscape.driver_errors import failures_named
from elspeth_dagster.landscape.engine import WRITE_OPTION, make_engine
from elspeth_dagster.landscape.schema import REVISION, metadata
from elspeth_dagster.landscape.structure import damage_of, damage_of_pages, told
from elspeth_dagster.landscape.url import parsed_url, without_secrets

ALONE_LOCK: Final = 0x5EED_1A5D  # the number of PostgreSQL's advisory lock for `Database.alone`
_OWN_TABLES: Final = frozenset(metadata.tables)


class Database:
    """An engine and the two kinds of transaction that the Landscape uses.

    ``patience_s`` is how long the reads of a running node wait for a database that is away (``patience.patient``).
    """

    def __init__(self, url: str, *, patience_s: float = 0.0) -> None:
        self.url = parsed_url(url)
        self.patience_s = patience_s
        self.engine = make_engine(self.url)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        return Path(self.url.database).absolute() if self.dialect == "sqlite" and self.url.database else None

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return without_secrets(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view."""
        with failures_named(self.url), self.engine.connect() as connection:
            reading = connection
            if self.dialect == "postgresql":
                reading = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with reading.begin():
                yield reading

    @contextmanager
    def look_up(self) -> Iterator[Connection]:
        """A read of records by their keys, or of a page in an index's order.

        PostgreSQL plans by what it knows of a table's contents. Of what a run has just written it knows nothing, and
        may read whole tables for each page: here it is kept to its indexes.
        """
        with self.read() as connection:
            self._without(connection, "seqscan", "hashjoin", "mergejoin")
            yield connection

    @contextmanager
    def compare(self) -> Iterator[Connection]:
        """A read that holds all that one node did against all that another did: never one by one, on PostgreSQL."""
        with self.read() as connection:
            self._without(connection, "nestloop")
            yield connection

    def _without(self, connection: Connection, *kinds_of_plan: str) -> None:
        if self.dialect == "postgresql":
            connection.exec_driver_sql(";".join(f"SET LOCAL enable_{kind} = off" for kind in kinds_of_plan))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; commits at the end, rolls back on an exception."""
        with failures_named(self.url), self.engine.connect() as connection:
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
