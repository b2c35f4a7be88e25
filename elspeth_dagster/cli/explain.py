"""`elspeth-dagster explain RUN_ID --row N`: the whole story of a row."""

from __future__ import annotations

import argparse
from pathlib import Path

from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.cli.story_details import print_details
from elspeth_dagster.cli.story_text import print_story
from elspeth_dagster.cli.terminal import stdout_terminal
from elspeth_dagster.expressions import values_read
from elspeth_dagster.landscape.explain import explain_row, explain_token
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--row", type=int, metavar="N", help="a row of the source, counted from 0")
    which.add_argument("--token", metavar="T", help="a token's id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Read the story and tell it."""
    settings = settings_for(options, Path.cwd())
    with existing_landscape(settings.landscape_url) as database:
        run = find_run(database, options.run)
        if options.token is None:
            explanation = explain_row(database, run, options.row, values_read=values_read)
        else:
            explanation = explain_token(database, run, options.token, values_read=values_read)
    if options.json:
        print_json(explanation)
        return Exit.COMPLETE
    terminal = stdout_terminal()
    print_story(terminal, explanation)
    print_details(terminal, explanation)
    return Exit.COMPLETE
