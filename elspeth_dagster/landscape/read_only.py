"""A Landscape that cannot be written through: the database itself refuses, whatever SQL it is given.

SQLite opens the file with ``mode=ro`` and ``query_only``; PostgreSQL makes every transaction of the session READ ONLY.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.engine import BUSY_TIMEOUT_MS, CACHE_KIB
from elspeth_dagster.landscape.url import parsed_url

_READ_ONLY_SESSION: Final = "-c default_transaction_read_only=on"


class ReadOnlyDatabase(Database):
    """A `Database` whose connections can only read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)  # names a missing driver; it connects only when it is asked to
        super().dispose()
        self.engine = _engine(parsed_url(url))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Refuse.

        Raises:
            LandscapeError: always.
        """
        self._refuse()
        yield  # what makes it a context manager

    def _refuse(self) -> NoReturn:
        raise LandscapeError(
            "This Landscape was opened to be read.",
            where=self.shown_url,
            hint="open it with `Database` to write; `Landscape.open` only reads",
        )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database)).absolute()
        query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if _is_at_rest(path) else {})
        file = sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)
        engine = sa.create_engine(file, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = url.query.get("options", "")
    options = f"{given if isinstance(given, str) else ' '.join(given)} {_READ_ONLY_SESSION}".strip()
    return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args={"options": options})


def _is_at_rest(path: Path) -> bool:
    """Whether it is an archive: in a folder where we can write nothing, with no log beside it.

    SQLite wants to make a log's index even to read, unless it is told that nobody writes. Where there is a log, its end
    is not in the file yet, and reading the file alone would leave it out.
    """
    return not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA query_only=ON")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
