"""`elspeth-dagster failures RUN_ID`: what failed, grouped by node and code, with examples."""

from __future__ import annotations

import argparse
from pathlib import Path

from elspeth_dagster.cli.amounts import counted
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import Settings, settings_for
from elspeth_dagster.cli.terminal import Terminal, safe, stdout_terminal
from elspeth_dagster.landscape.failures import FailureGroup, failure_groups
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Read them and print them."""
    settings = settings_for(options, Path.cwd())
    with existing_landscape(settings.landscape_url) as database:
        run = find_run(database, options.run)
        groups = failure_groups(database, run.run_id)
    if options.json:
        print_json({"run_id": run.run_id, "run_key": run.run_key, "failures": groups})
        return Exit.COMPLETE
    terminal = stdout_terminal()
    if not groups:
        terminal.line(f"No row of run {run.run_key} failed.", "green")
        return Exit.COMPLETE
    for group in groups:
        _print_group(terminal, group)
    example = next(
        (one.row_index for group in groups for one in group.examples if one.row_index is not None), None
    )
    if example is not None:
        _print_next(terminal, settings, run.run_key, example)
    return Exit.COMPLETE


def _print_group(terminal: Terminal, group: FailureGroup) -> None:
    title = terminal.paint(f"{group.node_id}  {group.code}", "bold")
    said = "quarantined" if group.is_quarantine else "failed"
    if group.is_late:
        became = "late: their join was decided, as its policy has it; no failure of the run"
    elif group.went_to is not None:
        became = f"{'quarantined in' if group.is_quarantine else 'sent to'} {group.went_to}"
    else:
        became = f"{said} and discarded" if group.is_discarded else f"{said}, kept in the Landscape"
    terminal.line(f"{title}  {terminal.paint(counted(group.count, 'row'), 'yellow')}, {became}")
    for example in group.examples:
        row = example.token_id if example.row_index is None else f"row {example.row_index}"
        said = safe(example.message) if example.message else "" if group.is_late else "no message was kept"
        terminal.wrapped(said, first=f"    {row:<10}  ")


def _print_next(terminal: Terminal, settings: Settings, run_key: str, row_index: int) -> None:
    terminal.heading("Next")
    terminal.line(f"  {settings.command('explain', run_key, '--row', str(row_index))}", "cyan")
