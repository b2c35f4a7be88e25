"""`elspeth-dagster resume RUN_ID`: go on with a run that failed, was interrupted, or died."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from elspeth_dagster.cli.exits import OF_STATUS
from elspeth_dagster.cli.launching import (
    Launching,
    execute_and_tell,
    refuse_missing_keys,
    tell,
    writable_landscape,
)
from elspeth_dagster.cli.settings import Settings, settings_for
from elspeth_dagster.cli.terminal import stdout_terminal
from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape.balance import run_balance
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.purges import refuse_purged
from elspeth_dagster.landscape.reading import database_at
from elspeth_dagster.landscape.registration import close_attempt
from elspeth_dagster.landscape.runs import RunRecord, attempts_of, find_run, heartbeat_of, let_in
from elspeth_dagster.landscape.status import finished_status
from elspeth_dagster.landscape.summary import run_summary
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.pipeline import load_pipeline

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN_ID", help="the run's key, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="one JSON document, and nothing else")


def execute(options: argparse.Namespace) -> int:
    """Find the run and its declaration, make sure that nobody works on it, and re-execute it from failure."""
    settings = settings_for(options, Path.cwd())
    database_at(settings.landscape_url).dispose()  # a resume makes no Landscape
    with writable_landscape(settings) as database:
        run = find_run(database, options.run)
        from elspeth_dagster.orchestration.launch import dagster_instance, resume  # noqa: PLC0415 - slow
        from elspeth_dagster.orchestration.lineage import FILE_TAG  # noqa: PLC0415 - slow

        with dagster_instance(settings.dagster_home) as instance:
            latest = _ended_run(instance, database, run, settings)
            file = _file(latest.tags.get(FILE_TAG), run)
            pipeline = load_pipeline(file)
            launching = Launching(pipeline, settings, database, is_json=options.json)
            if _close_if_finished(database, run):
                return _nothing_left(launching, run)
            _refuse_purged(database, run)
            refuse_missing_keys(pipeline)
            return execute_and_tell(
                launching,
                lambda: resume(
                    instance, pipeline, of=latest, file=file, landscape_url=settings.landscape_url
                ),
                run=run,
            )


def _refuse_purged(database: Database, run: RunRecord) -> None:
    """What a purge erased cannot be worked on any more."""
    with database.read() as connection:
        refuse_purged(connection, run_id=run.run_id, run_key=run.run_key, where=database.shown_url)


def _ended_run(
    instance: DagsterInstance, database: Database, run: RunRecord, settings: Settings
) -> DagsterRun:
    """The Dagster run of the latest attempt, which has ended, if need be by our saying so.

    Raises:
        LaunchError: this Dagster does not know it, or it is still alive.
    """
    from elspeth_dagster.orchestration.liveness import end_if_dead  # noqa: PLC0415 - slow to import

    attempt = let_in(attempts_of(database, run.run_id))
    latest = instance.get_run_by_id(attempt.dagster_run_id)
    if latest is None:
        raise LaunchError(
            f"Dagster does not know run {attempt.dagster_run_id}.",
            where=f"Dagster's home {settings.dagster_home}",
            hint="set DAGSTER_HOME to the one with which the run was launched",
        )
    heartbeat_at = heartbeat_of(database, run.run_id)
    return end_if_dead(instance, latest, attempt=attempt, heartbeat_at=heartbeat_at, now=SystemClock().now())


def _file(recorded: str | None, run: RunRecord) -> Path:
    """The declaration that the run was launched with.

    Raises:
        LaunchError: it is not known, or gone.
    """
    if recorded is None:
        raise LaunchError(
            f"Run {run.run_key} does not say which file declares it: it was not launched on the command line.",
            hint='open it in Dagster\'s UI and choose "Re-execute from failure"',
        )
    file = Path(recorded)
    if not file.is_file():
        raise LaunchError(
            "The declaration of the run is gone.",
            where=recorded,
            hint="put it back as it was, or start a new run",
        )
    return file


def _close_if_finished(database: Database, run: RunRecord) -> bool:
    """Whether every node is done and every token ended; an attempt that died before it could say so is closed.

    An attempt that failed after its last record is Dagster's to repeat: it finds nothing waiting.
    """
    finished = finished_status(database, run.run_id)
    latest = let_in(attempts_of(database, run.run_id))
    if finished is None or latest.status in {RunStatus.FAILED, RunStatus.INTERRUPTED}:
        return False
    close_attempt(
        database,
        run_id=run.run_id,
        dagster_run_id=latest.dagster_run_id,
        status=finished,
        reason="every node is done",
        counts=dict(run_balance(database, run.run_id).outcomes),
        clock=SystemClock(),
    )
    return True


def _nothing_left(launching: Launching, run: RunRecord) -> int:
    """Every node is done and every row has its outcome: say so, with the run's own exit status."""
    summary = run_summary(launching.database, run, now=SystemClock().now())
    if not launching.is_json:
        stdout_terminal().line(f"Run {run.run_key} is finished: there is nothing left to do.")
    status = OF_STATUS[summary.status]
    tell(launching, summary, (), status=status)
    return status
