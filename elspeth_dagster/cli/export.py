"""`elspeth-dagster export RUN_ID --out DIR`: everything about a run, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from elspeth_dagster.cli.amounts import counted
from elspeth_dagster.cli.exits import Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.settings import settings_for, shown_path
from elspeth_dagster.cli.terminal import Cell, safe, stdout_terminal
from elspeth_dagster.landscape.export import MANIFEST, Export, export_run
from elspeth_dagster.landscape.reading import existing_landscape
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.model.clock import SystemClock, timestamp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--out", metavar="DIR", required=True, help="a directory that is empty or not there")
    parser.add_argument(
        "--format", choices=("jsonl", "parquet"), default="jsonl", help="of the files (default: jsonl)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Write the files, and list them."""
    settings = settings_for(options, Path.cwd())
    target = Path(options.out).absolute()
    with existing_landscape(settings.landscape_url) as database:
        export = export_run(
            database,
            find_run(database, options.run),
            target,
            form=options.format,
            exported_at=timestamp(SystemClock().now()),
        )
    if options.json:
        print_json(export)
    else:
        _print(export)
    return Exit.COMPLETE


def _print(export: Export) -> None:
    terminal = stdout_terminal()
    total = counted(sum(one.records for one in export.files), "record")
    directory = safe(shown_path(Path(export.directory)))
    title = terminal.paint(f"{export.run.pipeline} {export.run.run_key}", "bold")
    terminal.line(f"{title}  {total} in {directory}")
    terminal.rule()
    terminal.table(
        [
            [
                Cell(one.file, None if one.records else "dim"),
                Cell(f"{one.records:,}", is_number=True),
                Cell(f"{one.size_bytes:,} bytes", is_number=True),
                Cell(f"sha256 {one.sha256[:12]}", "dim"),
            ]
            for one in export.files
        ]
    )
    terminal.line(f"  {MANIFEST} has counts, sizes and whole hashes", "dim")
