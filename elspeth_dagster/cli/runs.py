"""`elspeth-dagster runs`: the latest runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from elspeth_dagster.cli.amounts import moment
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.cli.summary_family import WENT_ON
from elspeth_dagster.cli.summary_text import STATUS_STYLES
from elspeth_dagster.cli.terminal import Cell, safe, shortened, stdout_terminal
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import ListedRun, RunRecord, recent_runs
from elspeth_dagster.landscape.status import run_status
from elspeth_dagster.model.as_json import as_json
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.outcome import RunStatus

LISTED_DEFAULT: Final = 20  # a screen
PARTITION_COLUMNS_MAX: Final = 24  # of a file's name, say; `show` has all of it
MINUTE_CHARS: Final = len("2026-01-31 09:30")
SHORT_WORDS: Final = {RunStatus.COMPLETED_WITH_FAILURES: "failed rows"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "-n", type=int, default=LISTED_DEFAULT, metavar="N", help=f"how many (default: {LISTED_DEFAULT})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """List them, latest first."""
    settings = settings_for(options, Path.cwd())
    now = SystemClock().now()
    with existing_landscape(settings.landscape_url) as database:
        listed = recent_runs(database, runs_max=max(1, options.n))
        statuses = [run_status(database, one.run.run_id, now=now) for one in listed]
    if options.json:
        print_json(
            {
                "landscape": settings.landscape_shown_url,
                "runs": [
                    {"run": as_json(one.run), "status": status, "latest_attempt": as_json(one.latest)}
                    for one, status in zip(listed, statuses, strict=True)
                ],
            }
        )
        return Exit.COMPLETE
    head = ("run", "pipeline", "started (UTC)", "tries", "status", "rows")
    rows = [[Cell(name, "dim", is_number=name == "tries") for name in head]]
    rows += [_row(one, status) for one, status in zip(listed, statuses, strict=True)]
    stdout_terminal().table(rows, indent="")
    return Exit.COMPLETE


def _row(one: ListedRun, status: RunStatus) -> list[Cell]:
    counts = {name: count for name, count in (one.latest.counts or {}).items() if isinstance(count, int)}
    ended = sorted(
        ((name, count) for name, count in counts.items() if name not in WENT_ON),
        key=lambda item: -item[1],
    )
    return [
        Cell(one.run.run_key, "bold"),
        Cell(_pipeline(one.run)),
        Cell(moment(one.run.started_at)[:MINUTE_CHARS]),
        Cell(str(one.latest.attempt), is_number=True),
        Cell(SHORT_WORDS.get(status, status.value), STATUS_STYLES[status]),
        Cell(", ".join(f"{count:,} {name}" for name, count in ended), "dim"),
    ]


def _pipeline(run: RunRecord) -> str:
    """Its name, and the partition that the run is of."""
    if run.partition_key is None:
        return safe(run.pipeline)
    return f"{safe(run.pipeline)} {shortened(safe(run.partition_key), PARTITION_COLUMNS_MAX)}"
