"""Holds a database's commits, so that tests can look at what happens meanwhile. No sleeping, no guessing."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database

PATIENCE_S = 20.0


class CommitGate:
    """Counts the commits of one engine, and holds them while it is shut."""

    def __init__(self, database: Database) -> None:
        self.commits = 0
        self._arrived = threading.Event()
        self._is_open = threading.Event()
        self._is_open.set()
        sa.event.listen(database.engine, "commit", self._pass)

    def shut(self) -> None:
        self._arrived.clear()
        self._is_open.clear()

    def wait_for_a_commit(self) -> None:
        """Until a commit arrived since the gate was shut, and stands before it."""
        assert self._arrived.wait(PATIENCE_S), "no commit came"

    def open(self) -> None:
        self._is_open.set()

    def _pass(self, _connection: Connection) -> None:
        self._arrived.set()
        assert self._is_open.wait(PATIENCE_S), "the gate was never opened"
        self.commits += 1
