"""`elspeth-dagster verify RUN_ID`: prove that a run's evidence is whole and unchanged, or show where it is not.

Dagster's event log is read where it is at hand: it has every seal too, so neither store can be rewritten alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elspeth_dagster.cli.amounts import counted
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import Settings, settings_for
from elspeth_dagster.cli.terminal import Terminal, safe, stdout_terminal
from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import dagster_runs_of, find_run, run_of_attempt
from elspeth_dagster.landscape.verify import VerifyReport, removed_run, verify_run
from elspeth_dagster.model.as_json import as_json
from elspeth_dagster.model.clock import SystemClock

if TYPE_CHECKING:
    from dagster import DagsterInstance

SHOWN_PER_CHECK_MAX: Final = 10  # more of one kind says nothing new on a screen; --json has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Run every check."""
    settings = settings_for(options, Path.cwd())
    with existing_landscape(settings.landscape_url) as database, _dagster(settings) as instance:
        report = _report(database, instance, options.run)
    status = Exit.COMPLETE if report.is_clean else Exit.FINDINGS
    if options.json:
        document = as_json(report)
        assert isinstance(document, dict)  # noqa: S101 - a dataclass becomes an object
        print_json({"exit_status": int(status), "is_clean": report.is_clean, **document})
    else:
        _print(stdout_terminal(), report)
    return status


@contextmanager
def _dagster(settings: Settings) -> Iterator[DagsterInstance | None]:
    """The Dagster whose log is compared; None where its home has never been used: a check makes nothing."""
    if not (settings.dagster_home / "dagster.yaml").is_file():
        yield None
        return
    from elspeth_dagster.orchestration.launch import dagster_instance  # noqa: PLC0415 - slow

    with dagster_instance(settings.dagster_home) as instance:
        yield instance


def _report(database: Database, instance: DagsterInstance | None, text: str) -> VerifyReport:
    try:
        run = find_run(database, text)
    except LandscapeError:
        removed = None if instance is None else _removed(database, instance, text)
        if removed is None:
            raise
        return removed
    witness = None
    if instance is not None:
        from elspeth_dagster.orchestration.witness import witness_of  # noqa: PLC0415 - slow

        attempts = dagster_runs_of(database, run.run_id)
        witness = witness_of(instance, run.run_id, pipeline=run.pipeline, dagster_run_ids=attempts)
    return verify_run(database, run, now=SystemClock().now(), witness=witness)


def _removed(database: Database, instance: DagsterInstance, text: str) -> VerifyReport | None:
    """The report on a run that only Dagster knows; None if it does not know it either."""
    from elspeth_dagster.orchestration.witness import sealed_runs  # noqa: PLC0415 - slow

    for run_id, seals in sealed_runs(instance, text).items():
        if run_of_attempt(database, run_id.partition("/")[0]) is None:
            return removed_run(run_id, seals=seals)
    return None


def _print(terminal: Terminal, report: VerifyReport) -> None:
    counts = report.counts
    looked_at = ", ".join(
        counted(counts[name], one, many)
        for name, one, many in (
            ("records", "record", "records"),
            ("bodies", "body", "bodies"),
            ("files", "file", "files"),
            ("tables", "table", "tables"),
            ("seals", "seal", "seals"),
        )
        if counts.get(name)
    )
    run = report.run
    title = "a run that is gone" if run is None else f"{run.pipeline} {run.run_key}"
    terminal.line(f"{terminal.paint(title, 'bold')}  {looked_at}")
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
