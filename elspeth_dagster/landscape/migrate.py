"""Bring a database to this code's version. The only place that imports Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from elspeth_dagster.landscape.database import Database

_CREATION_LOCK = 0x5EED_1A5D  # an advisory lock's number: two processes never migrate one database at once


def upgrade(database: Database) -> None:
    """Apply every migration that is missing, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
