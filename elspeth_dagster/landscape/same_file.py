"""A SQLite Landscape stays the file that it was when it was opened.

Who holds a file open goes on writing to it when it was deleted or another was put in its place: every commit succeeds,
and nothing of it is ever seen again. So the path is looked at whenever a connection is made or a transaction begins,
for a microsecond each time.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from elspeth_dagster.errors import LandscapeUnavailableError


def keep_to_its_file(engine: Engine) -> None:
    """Refuse every connection and transaction of ``engine`` once its path is not the file that it first opened."""
    watch = _Watch()
    event.listen(engine, "do_connect", watch.before_connect)
    event.listen(engine, "connect", watch.after_connect)
    event.listen(engine, "begin", watch.before_transaction)


class _Watch:
    """Knows the file by device and inode, from the first connection on."""

    def __init__(self) -> None:
        self._path = Path()
        self._known: tuple[int, int] | None = None

    def before_connect(self, *_: object) -> None:
        """A connection to a path where no file is by now would make a new, empty one."""
        if self._known is not None:
            self._compare()

    def after_connect(self, connection: sqlite3.Connection, _record: object) -> None:
        if self._known is None:
            _, _, path = connection.execute(
                "PRAGMA database_list"
            ).fetchone()  # absolute, whatever the URL says
            self._path = Path(path)
            self._known = self._found()
        self._compare()

    def before_transaction(self, _connection: Connection) -> None:
        self._compare()

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _compare(self) -> None:
        found = self._found()
        if found is not None and found == self._known:
            return
        what = "is gone" if found is None else "is another file now"
        raise LandscapeUnavailableError(
            f"The Landscape {what}: it was {'deleted or moved' if found is None else 'replaced'} while it was in use.",
            where=str(self._path),
            hint="put the file back and resume; what could not be recorded counts as not done",
        )
