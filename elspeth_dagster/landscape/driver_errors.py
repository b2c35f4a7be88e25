"""What a driver's error means: whether the same may succeed later, and what a person is told of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, InterfaceError, OperationalError

from elspeth_dagster.errors import LandscapeError, LandscapeUnavailableError, SchemaVersionError
from elspeth_dagster.landscape.url import without_secrets


@contextmanager
def failures_named(url: URL) -> Iterator[None]:
    """Raise what the driver of the database at ``url`` raises as ours.

    Raises:
        LandscapeUnavailableError: it cannot be reached, or has no space left.
        LandscapeError: it cannot hold a value.
        SchemaVersionError: the file is no database.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:  # the latter of a connection that is closed already
        is_full = is_out_of_space(error)
        raise LandscapeUnavailableError(
            f"The Landscape {'has no space left' if is_full else 'cannot be used'}: {error.orig}",
            where=without_secrets(url),
            hint="free some space, then resume: what is recorded stays, and nothing else was decided"
            if is_full
            else "check that the path or server exists, has space, and can be written",
        ) from error
    except DataError as error:
        raise LandscapeError(
            f"The Landscape cannot hold a value: {error.orig}",
            where=without_secrets(url),
            hint="find the value (a NUL character, a number out of range) and leave it out; what is recorded stays",
        ) from error
    except DatabaseError as error:
        if error.statement is None and url.get_backend_name() == "postgresql":
            raise LandscapeUnavailableError(
                f"The Landscape cannot be connected to: {error.orig}",
                where=without_secrets(url),
                hint="check the options in the URL",
            ) from error
        if "not a database" in str(error.orig) or "malformed" in str(error.orig):
            raise SchemaVersionError(
                f"This is no readable SQLite database: {error.orig}",
                where=without_secrets(url),
                hint="name another file, or restore this one from a copy",
            ) from error
        raise


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
