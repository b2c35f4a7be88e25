"""What a source and a sink say of a database: its URL, or the variable that holds it. Only a run loads SQLAlchemy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.files import resolve
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig

if TYPE_CHECKING:
    from elspeth_dagster.tables.address import Address

BACKENDS: Final = ("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "duckdb", "snowflake")
"""Told apart from slips of the pen; any other that SQLAlchemy has a driver for works too."""

_USER_OPTIONS: Final = frozenset({"user", "username", "password", "passwd", "sslpassword"})


class DatabaseConfig(NodeConfig):
    """A node whose rows are in a database."""

    url: str | None = Field(
        default=None,
        description="The database, as SQLAlchemy writes it, without user and password. A SQLite path is relative to "
        "the declaration's folder.",
        examples=["sqlite:///data/messages.db"],
    )
    url_env: str | None = Field(
        default=None,
        min_length=1,
        description="Or the NAME of the environment variable that holds the URL, user and password included.",
        examples=["WAREHOUSE_URL"],
    )
    schema_: str | None = Field(
        default=None, alias="schema", min_length=1, description="The table's schema.", examples=["public"]
    )
    allow_outside: bool = Field(
        default=False, description="Whether a SQLite file may lie outside of the project's folder."
    )

    def variables(self) -> tuple[str, ...]:
        """The variable that holds the URL."""
        return () if self.url_env is None else (self.url_env,)

    @property
    def backend(self) -> str | None:
        """The kind of database, where the declaration tells it."""
        return None if self.url is None else self.url.partition(":")[0].partition("+")[0]

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """No database or two, a URL that tells a user, and a SQLite file outside of the project."""
        yield from super().mistakes(columns, home)
        if (self.url is None) == (self.url_env is None):
            what = "Name the database by one of `url` and `url_env`" + (
                "." if self.url is None else ": there are both."
            )
            yield Mistake(() if self.url is None else ("url",), what)
        elif self.url is not None:
            yield from (Mistake(("url",), what) for what in self._wrong_with(self.url, home))
        if self.url_env is not None and not self.url_env.isidentifier():
            # Not shown: it is probably the URL itself.
            yield Mistake(("url_env",), "This is no variable's NAME: put the URL into one, and name that.")

    def _wrong_with(self, url: str, home: Home) -> Iterator[str]:
        try:
            parts = urlsplit(url)
            told = "@" in parts.netloc or _USER_OPTIONS & {key.lower() for key, _ in parse_qsl(parts.query)}
        except ValueError:
            yield "The URL cannot be read."
            return
        backend = parts.scheme.partition("+")[0]
        if told:
            yield (
                "It holds a user or a password, and a declaration is recorded: put it into a variable, name that as "
                "`url_env`."
            )
        elif not backend or "://" not in url:
            yield "This is no URL: write sqlite:///data/messages.db, or postgresql://host/name."
        elif near := "" if backend in BACKENDS else suggest(backend, BACKENDS):
            yield f"There is no database {backend!r}.{near}"
        elif backend == "sqlite":
            try:
                self._file(unquote(parts.path.removeprefix("/")), home)
            except ValueError as error:
                yield str(error)

    def _file(self, written: str, home: Home) -> Path:
        return resolve(written, base=home.base, root=home.root, allow_outside=self.allow_outside)

    def address(self, home: Home, *, error: type[ElspethError]) -> Address:
        """The database.

        Raises:
            ElspethError: an ``error``: the variable is not set, or holds what is no URL; the path leaves the project.
        """
        from elspeth_dagster.tables.address import address_of  # noqa: PLC0415 - loads SQLAlchemy

        where = f"variable {self.url_env}" if self.url is None else "url"
        written = self.url if self.url is not None else os.environ.get(self.url_env or "", "")
        if not written.strip():
            what = f"The environment variable {self.url_env} is not set."
            raise error(
                what, where=f"{self.kind} {self.where()}", hint=f"put the database's URL into {self.url_env}"
            )
        return address_of(written, error=error, where=where, sqlite_path=partial(self._file, home=home))

    def where(self) -> str:
        """What it is about, for errors."""
        return "database"


def unset_variables(config: NodeConfig) -> tuple[str, ...]:
    """The variables that a node needs and nobody has set."""
    return tuple(name for name in config.variables() if not os.environ.get(name, "").strip())
