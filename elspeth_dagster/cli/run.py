"""`elspeth-dagster run FILE`: materialize a pipeline through Dagster, and tell where every row went."""

from __future__ import annotations

import argparse
import sys

from elspeth_dagster.cli.launching import Launching, execute_and_tell, refuse_missing_keys, writable_landscape
from elspeth_dagster.cli.settings import declaration_file, settings_for
from elspeth_dagster.cli.terminal import safe, terminal_of
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.pipeline import load_pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", metavar="FILE", help="the declaration, or a folder with a defs.yaml")
    parser.add_argument("--limit", type=_positive, metavar="N", help="read at most N records of the source")
    parser.add_argument("--partition", metavar="P", help="the partition to run, of a pipeline that has them")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"give a number of records, at least 1, not {text!r}")
    return number


def execute(options: argparse.Namespace) -> int:
    """Check everything that can be checked before, then launch."""
    file = declaration_file(options.file)
    settings = settings_for(options, file.parent)
    pipeline = load_pipeline(file)
    refuse_missing_keys(pipeline)
    for doubt in pipeline.warnings:  # beside the output, which may be a JSON document
        terminal_of(sys.stderr).wrapped(safe(str(doubt)), first="note: ", style="yellow")
    with writable_landscape(settings) as database:
        # Dagster takes a second to import: what can be refused without it was refused above.
        from elspeth_dagster.orchestration.launch import dagster_instance, launch  # noqa: PLC0415
        from elspeth_dagster.orchestration.liveness import refuse_rival  # noqa: PLC0415
        from elspeth_dagster.orchestration.partitioning import refuse_partition  # noqa: PLC0415

        with dagster_instance(settings.dagster_home) as instance:
            refuse_partition(instance, pipeline, options.partition)
            refuse_rival(instance, database, pipeline.name, options.partition, now=SystemClock().now())
            launching = Launching(pipeline, settings, database, is_json=options.json)
            return execute_and_tell(
                launching,
                lambda: launch(
                    instance,
                    pipeline,
                    file=file,
                    landscape_url=settings.landscape_url,
                    limit=options.limit,
                    partition=options.partition,
                ),
                run=None,
            )
