"""Bring a database to this code's version. The only place that imports Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from elspeth_dagster.landscape.database import Database


def upgrade(database: Database) -> None:
    """Apply every migration that is missing, in one transaction; two processes never do so at once."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.alone() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
