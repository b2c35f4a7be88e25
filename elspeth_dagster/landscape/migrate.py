"""Bring a database to this code's version. The only place that imports Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from elspeth_dagster.errors import SchemaVersionError
from elspeth_dagster.landscape.database import Database


def upgrade(database: Database) -> None:
    """Apply every migration that is missing, in one transaction; two processes never do so at once.

    Raises:
        SchemaVersionError: the database is of a version that this package does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.alone() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SchemaVersionError(
                "The Landscape is of a version that this package does not know.",
                where=database.shown_url,
                hint="install the package version that wrote it, or a later one",
            ) from error
