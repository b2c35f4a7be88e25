"""`elspeth-dagster db`: bring the Landscape to this package's version, or check that it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.cli.terminal import stdout_terminal
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.schema import REVISION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("upgrade", "check"), help="apply what is missing, or only look")


def execute(options: argparse.Namespace) -> int:
    """Do it, and say what version it is now."""
    settings = settings_for(options, Path.cwd())
    terminal = stdout_terminal()
    if options.action == "check":
        with existing_landscape(settings.landscape_url) as database:
            database.refuse_damage(every_page=True)
            terminal.line(
                f"{settings.landscape_shown} is of version {REVISION}, as this package needs, and whole."
            )
        return Exit.COMPLETE
    database = Database(settings.landscape_url)
    try:
        before = database.revision()
        from elspeth_dagster.landscape.migrate import upgrade  # noqa: PLC0415 - alembic is slow to import

        upgrade(database)
        database.refuse_damage()
    finally:
        database.dispose()
    if before == REVISION:
        terminal.line(f"{settings.landscape_shown} was of version {REVISION} already.")
    else:
        terminal.line(f"{settings.landscape_shown} is of version {REVISION} now; it was {before or 'empty'}.")
    return Exit.COMPLETE
