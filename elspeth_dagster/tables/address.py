"""A database that a source reads or a sink writes: its URL, how it is opened, and what its errors may tell.

Only the backend, the host and the database's name are ever shown. What a driver says in an error is kept, with user and
password taken out, since servers repeat both; the driver's exception itself goes no further, for Dagster stores causes.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from elspeth_dagster.errors import ElspethError

BUSY_TIMEOUT_MS: Final = 30_000
CONNECT_TIMEOUT_S: Final = 10
SAID_CHARS_MAX: Final = 300
"""Of a driver's own words."""

_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_INSTALL: Final = {"postgresql": "pip install 'elspeth_dagster[postgres]'"}
_USER_OPTIONS: Final = ("user", "username", "password", "passwd", "sslpassword")
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is. ``error`` is what is raised where it cannot be used."""

    url: URL = field(repr=False)
    error: type[ElspethError]

    @property
    def database(self) -> str:
        """``postgresql://host:port/name`` or ``sqlite:///path``: nobody's name, no password."""
        backend, name = self.url.get_backend_name(), quote(self.url.database or "", safe="/")
        if backend == "sqlite":
            return f"sqlite://{'' if name.startswith('/') else '/'}{name}"
        socket = self.url.query.get("host", "")
        host = quote(self.url.host or (socket if isinstance(socket, str) else ""), safe="")
        return f"{backend}://{host}{f':{self.url.port}' if self.url.port else ''}/{name}"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that cannot write: one consistent view where the database has such."""
        with self._connected(writes=False) as connection:
            if connection.dialect.name != "postgresql":
                with connection.begin():
                    yield connection
                return
            view = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with view.begin():
                view.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
                yield view

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection for one transaction, which the caller begins and commits; left open, it is rolled back."""
        with self._connected(writes=True) as connection:
            yield connection

    @contextmanager
    def _connected(self, *, writes: bool) -> Iterator[Connection]:
        failure: ElspethError | None = None
        try:
            engine = self._engine(writes=writes)
            try:
                with engine.connect() as connection:
                    yield connection
            finally:
                engine.dispose()
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            backend = self.url.get_backend_name()
            what = f"The driver of {backend} is not installed: {self.scrubbed(str(error))}."
            hint = _INSTALL.get(backend, f"install SQLAlchemy's driver for {backend}")
            failure = self.error(what, where=self.database, hint=hint)
        except (SQLAlchemyError, OverflowError) as error:
            failure = self.failure(error)
        if failure is not None:
            raise failure

    def failure(self, error: Exception) -> ElspethError:
        """What to raise instead of ``error``."""
        said = self._said(error)
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        is_statement = getattr(error, "statement", None) is not None and not is_lost
        what = f"The database {'refused' if is_statement else 'cannot be used'}: {said}."
        hint = (
            "mend what it names, then resume"
            if is_statement
            else "check that the server or file is there, and who may use it; then resume"
        )
        return self.error(what, where=self.database, hint=hint)

    def scrubbed(self, text: str) -> str:
        """``text`` without the URL's user, password and options that hold them."""
        options = [self.url.query.get(name) for name in _USER_OPTIONS]
        secrets = [self.url.username, self.url.password, *(one for one in options if isinstance(one, str))]
        for secret in sorted(filter(None, map(str, filter(None, secrets))), key=len, reverse=True):
            for form in {secret, quote(secret, safe="")}:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "[redacted]", text)
        return text

    def _said(self, error: Exception) -> str:
        origin = error.orig if isinstance(error, DBAPIError) else error
        primary = getattr(getattr(origin, "diag", None), "message_primary", None)
        text = " ".join((primary or str(origin)).split())
        if str(getattr(origin, "sqlstate", "")).startswith("22"):  # what it quotes is a row's content
            text = re.sub(r': ".*"$', "", text)
        return self.scrubbed(text)[:SAID_CHARS_MAX].rstrip(".") or type(origin).__name__

    def _engine(self, *, writes: bool) -> Engine:
        backend = self.url.get_backend_name()
        options = (
            {"connect_timeout": CONNECT_TIMEOUT_S}
            if backend == "postgresql" and "connect_timeout" not in self.url.query
            else {}
        )
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,  # they are rows
            poolclass=NullPool,
            connect_args=options,
            json_serializer=_JSON.encode,
        )
        if backend == "sqlite":
            event.listen(engine, "connect", _prepare_writing if writes else _prepare_reading)
            event.listen(engine, "begin", _begin_immediate if writes else _begin)
        return engine


def address_of(
    written: str, *, error: type[ElspethError], where: str, sqlite_path: Callable[[str], Path]
) -> Address:
    """The database that a URL names. ``sqlite_path`` makes a declared path absolute, and may refuse it.

    Raises:
        ElspethError: an ``error``: it is no URL, or names nothing that lasts. Its text is never shown.
    """
    url: URL | None = None
    with suppress(ArgumentError, ValueError):
        url = make_url(written.strip())
    if url is None:
        hint = "write sqlite:///path/to/file.db or postgresql+psycopg://user@host/name"
        raise error("The database's URL cannot be read.", where=where, hint=hint)
    if url.drivername in _DRIVERS:
        url = url.set(drivername=_DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite":
        name = url.database or ""
        if not name or ":memory:" in name or name.startswith("file:"):
            raise error("The SQLite URL names no file.", where=where, hint="write sqlite:///path/to/file.db")
        try:
            path = sqlite_path(name)
        except ValueError as refused:
            raise error(str(refused), where=where) from None
        url = URL.create(url.drivername, database=str(path))
    return Address(url, error)


def _prepare_reading(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA query_only=ON")


def _prepare_writing(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    """A deferred transaction that reads first and then writes fails where another writes meanwhile."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
