"""`elspeth-dagster verify RUN_ID`: prove that a run's evidence is whole and unchanged, or show where it is not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from elspeth_dagster.cli.amounts import counted
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import as_json, print_json
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.cli.terminal import Terminal, safe, stdout_terminal
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import VerifyReport, verify_run
from elspeth_dagster.model.clock import SystemClock

SHOWN_PER_CHECK_MAX: Final = 10  # more of one kind says nothing new on a screen; --json has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Run every check."""
    settings = settings_for(options, Path.cwd())
    with existing_landscape(settings.landscape_url) as database:
        report = verify_run(database, find_run(database, options.run), now=SystemClock().now())
    status = Exit.COMPLETE if report.is_clean else Exit.FINDINGS
    if options.json:
        document = as_json(report)
        assert isinstance(document, dict)  # noqa: S101 - a dataclass becomes an object
        print_json({"exit_status": int(status), "is_clean": report.is_clean, **document})
    else:
        _print(stdout_terminal(), report)
    return status


def _print(terminal: Terminal, report: VerifyReport) -> None:
    counts = report.counts
    looked_at = ", ".join(
        counted(counts[name], one, many)
        for name, one, many in (
            ("records", "record", "records"),
            ("bodies", "body", "bodies"),
            ("files", "file", "files"),
        )
        if counts.get(name)
    )
    terminal.line(f"{terminal.paint(f'{report.run.pipeline} {report.run.run_key}', 'bold')}  {looked_at}")
    terminal.rule()
    for check in report.checks:
        is_clean = not check.findings
        mark = terminal.symbols.check if is_clean else terminal.symbols.cross
        terminal.line(f"{terminal.paint(mark, 'green' if is_clean else 'red')} {check.name}")
        for finding in check.findings[:SHOWN_PER_CHECK_MAX]:
            terminal.wrapped(
                f"{finding.table} {safe(finding.key)}: {safe(finding.what)}", first="    ", style="red"
            )
        left = len(check.findings) - SHOWN_PER_CHECK_MAX
        if left > 0:
            terminal.line(f"    and {left:,}{' or more' if check.is_cut else ''} others: see --json")
    for note in report.notes:
        terminal.wrapped(safe(note), first="note: ", style="yellow")
    terminal.line()
    if report.is_clean:
        terminal.line("Everything holds.", "bold green")
    else:
        found = sum(len(check.findings) for check in report.checks)
        terminal.line(f"{counted(found, 'finding')}: this run cannot be trusted as it is.", "bold red")
