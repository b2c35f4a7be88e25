"""Open a Landscape that is there already, to read it: nothing is created, nothing migrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth_dagster.errors import LandscapeError, LandscapeUnavailableError, SchemaVersionError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.read_only import ReadOnlyDatabase
from elspeth_dagster.landscape.schema import REVISION
from elspeth_dagster.landscape.url import parsed_url


@contextmanager
def existing_landscape(url: str) -> Iterator[Database]:
    """The Landscape at ``url``, closed at the end; the database itself refuses to be written through it.

    Raises:
        LandscapeError: there is none, it cannot be read, or it is of another version.
    """
    database = opened_landscape(url)
    try:
        yield database
    finally:
        database.dispose()


def opened_landscape(url: str) -> Database:
    """The same for who closes it himself.

    Raises:
        LandscapeError: as above.
    """
    database_at(url).dispose()
    database = ReadOnlyDatabase(url)
    try:
        _check_version(database)
    except BaseException:
        database.dispose()
        raise
    return database


def database_at(url: str) -> Database:
    """The database at ``url``, of whatever version.

    Raises:
        LandscapeUnavailableError: it is a file, and there is none.
    """
    parsed = parsed_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
        raise LandscapeUnavailableError(
            "There is no Landscape here yet.",
            where=str(Path(parsed.database).absolute()),
            hint="run a pipeline first, or name another Landscape with --landscape",
        )
    return Database(url)


def _check_version(database: Database) -> None:
    found = database.revision()
    if found is None:
        raise LandscapeError(
            "The database is empty: no run was recorded in it.",
            where=database.shown_url,
            hint="run a pipeline first, or name another Landscape with --landscape",
        )
    if found != REVISION:
        raise SchemaVersionError(
            f"The Landscape is of version {found}; this package needs {REVISION}.",
            where=database.shown_url,
            hint="run `elspeth-dagster db upgrade`, or use the package version that wrote it",
        )
