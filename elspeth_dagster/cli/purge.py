"""`elspeth-dagster purge --older-than 180d`: erase the bodies of old runs; their evidence stays."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from elspeth_dagster.cli.ages import parsed_age
from elspeth_dagster.cli.amounts import counted, moment
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import Settings, settings_for
from elspeth_dagster.cli.terminal import Cell, Terminal, safe, stdout_terminal
from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.purge import PurgePlan, ToPurge, plan_purge, purge
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.vacuum import forget_deleted, size_of, vacuum
from elspeth_dagster.model.as_json import as_json
from elspeth_dagster.model.clock import SystemClock

OLDER_THAN = "--older-than"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        OLDER_THAN,
        metavar="AGE",
        required=True,
        help="runs that ended longer ago than this: 180d, 12h, 4w",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--vacuum", action="store_true", help="give the space back to the disk; nobody can write meanwhile"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Say what is old enough, ask, and erase it."""
    age = parsed_age(options.older_than, option=OLDER_THAN)
    settings = settings_for(options, Path.cwd())
    now = SystemClock().now()
    with existing_landscape(settings.landscape_url) as database:
        plan = plan_purge(database, older_than=age, shown=options.older_than.strip(), now=now)
    terminal = stdout_terminal()
    if not options.json:
        _print_plan(terminal, plan)
    is_done = bool(plan.runs) and not options.dry_run
    if is_done and not options.yes and not _is_agreed(plan, can_ask=not options.json):
        terminal.line("Nothing was erased.")
        return Exit.REFUSED
    space: str | None = None
    left_alone = 0
    if is_done or (options.vacuum and not options.dry_run):
        purged, space = _erase(settings, plan, options)
        left_alone = len(plan.runs) - len(purged)
        plan = replace(plan, runs=purged)
    if options.json:
        print_json(_document(plan, is_done=is_done))
    elif is_done:
        terminal.line()
        terminal.line(f"{counted(plan.bodies, 'body', 'bodies')} erased; the evidence is all there.", "green")
        if left_alone:
            terminal.wrapped(f"{counted(left_alone, 'run')} left alone: gone on with meanwhile.")
        terminal.wrapped(space or "")
    elif space:
        terminal.line(space)
    return Exit.COMPLETE


def _erase(
    settings: Settings, plan: PurgePlan, options: argparse.Namespace
) -> tuple[tuple[ToPurge, ...], str]:
    """Do it; returns what was purged, and what became of the space."""
    database = Database(settings.landscape_url)
    try:
        before = size_of(database)
        purged = purge(database, plan, now=SystemClock().now())
        forget_deleted(database)
        if options.vacuum:
            vacuum(database)
        after = size_of(database)
    finally:
        database.dispose()
    if not options.vacuum:
        return purged, "The freed space is used by later runs; --vacuum gives it back to the disk."
    if before is None or after is None:
        return purged, "The freed space can be used again."
    return purged, f"The file took {before:,} bytes and takes {after:,} now."


def _is_agreed(plan: PurgePlan, *, can_ask: bool) -> bool:
    if not can_ask or not sys.stdin.isatty():
        raise ElspethError(
            "Erasing cannot be undone, and there is nobody to ask.",
            where=f"{counted(plan.bodies, 'body', 'bodies')} of {counted(len(plan.runs), 'run')}",
            hint="look with --dry-run, then say --yes",
        )
    sys.stdout.write("\nErase them for good? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_plan(terminal: Terminal, plan: PurgePlan) -> None:
    if not plan.runs:
        terminal.line(f"No run that ended before {moment(plan.before)} UTC has bodies left to erase.")
        return
    terminal.line(
        f"{counted(len(plan.runs), 'run')} ended before {moment(plan.before)} UTC: "
        f"{counted(plan.bodies, 'body', 'bodies')}, {plan.size_bytes:,} bytes",
        "bold",
    )
    rows = []
    for one in plan.runs:
        spared = f"{one.bodies_spared:,} spared: younger runs use them" if one.bodies_spared else ""
        rows.append(
            [
                Cell(one.run.run_key, "bold"),
                Cell(safe(one.run.pipeline)),
                Cell(moment(one.ended_at)[:16]),
                Cell(f"{one.bodies:,} bodies", is_number=True),
                Cell(f"{one.size_bytes:,} bytes", is_number=True),
                Cell(spared, "dim"),
            ]
        )
    terminal.table(rows)


def _document(plan: PurgePlan, *, is_done: bool) -> dict[str, object]:
    return {
        "is_done": is_done,
        "before": plan.before,
        "older_than": plan.older_than,
        "bodies": plan.bodies,
        "size_bytes": plan.size_bytes,
        "runs": [as_json(one) for one in plan.runs],
    }
