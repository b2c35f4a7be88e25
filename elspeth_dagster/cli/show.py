"""`elspeth-dagster show RUN_ID`: one run, node by node."""

from __future__ import annotations

import argparse
from pathlib import Path

from elspeth_dagster.cli.amounts import milliseconds, moment
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.launching import dict_of
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import settings_for
from elspeth_dagster.cli.summary_family import print_batches, print_joins
from elspeth_dagster.cli.summary_text import (
    print_failures,
    print_models,
    print_nodes,
    print_rows,
    print_title,
    shown_uri,
)
from elspeth_dagster.cli.terminal import Cell, Terminal, safe, stdout_terminal
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.summary import RunSummary, run_summary
from elspeth_dagster.model.clock import SystemClock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Read it and print it."""
    settings = settings_for(options, Path.cwd())
    with existing_landscape(settings.landscape_url) as database:
        summary = run_summary(database, find_run(database, options.run), now=SystemClock().now())
    if options.json:
        print_json({"landscape": settings.landscape_shown_url, **dict_of(summary)})
        return Exit.COMPLETE
    terminal = stdout_terminal()
    print_title(terminal, summary)
    print_rows(terminal, summary)
    print_nodes(terminal, summary.nodes)
    print_models(terminal, summary)
    _print_pools(terminal, summary)
    print_joins(terminal, summary.joins)
    print_batches(terminal, summary.batches)
    print_failures(terminal, summary)
    _print_artifacts(terminal, summary)
    _print_attempts(terminal, summary)
    return Exit.COMPLETE


def _print_pools(terminal: Terminal, summary: RunSummary) -> None:
    pooled = [node for node in summary.nodes if node.pool is not None]
    if not pooled:
        return
    terminal.heading("Pools")
    head = ("", "size", "reached", "retries", "peak delay", "throttled", "p50", "p95", "wait p95")
    rows = [[Cell(name, "dim", is_number=at > 0) for at, name in enumerate(head)]]
    for node in pooled:
        pool = node.pool
        assert pool is not None  # noqa: S101 - filtered above
        numbers = (
            str(pool.pool_size), str(pool.max_concurrent_reached), f"{pool.capacity_retries:,}",
            milliseconds(pool.peak_delay_ms), milliseconds(pool.total_throttle_time_ms),
            milliseconds(node.latency_p50_ms), milliseconds(node.latency_p95_ms),
            milliseconds(node.buffer_wait_p95_ms),
        )  # fmt: skip
        rows.append([Cell(node.node_id), *(Cell(text, is_number=True) for text in numbers)])
    terminal.table(rows)


def _print_artifacts(terminal: Terminal, summary: RunSummary) -> None:
    if not summary.artifacts:
        return
    terminal.heading("Files")
    terminal.table(
        [
            [
                Cell(shown_uri(artifact.uri)),
                Cell(f"{artifact.row_count:,} rows", is_number=True),
                Cell(f"{artifact.size_bytes:,} bytes", is_number=True),
                Cell(f"sha256 {artifact.content_hash[:12]}", "dim"),
            ]
            for artifact in summary.artifacts
        ]
    )


def _print_attempts(terminal: Terminal, summary: RunSummary) -> None:
    terminal.heading("Attempts")
    for attempt in summary.attempts:
        reason = f": {safe(attempt.end_reason)}" if attempt.end_reason else ""
        said = f"{moment(attempt.started_at)}  {attempt.status.value}{reason}"
        terminal.wrapped(said, first=f"  {attempt.attempt}  ")
        terminal.line(f"     Dagster run {attempt.dagster_run_id}", "dim")
        terminal.line(f"     process {attempt.pid} on {safe(attempt.host)}", "dim")
    versions = ", ".join(f"{name} {value}" for name, value in summary.run.versions.items() if value)
    by = f", launched by {safe(summary.run.launched_by)}" if summary.run.launched_by else ""
    terminal.line(f"  {versions}{by}", "dim")
