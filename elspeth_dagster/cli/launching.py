"""What `run` and `resume` have in common: check before launching, launch, close the attempt, tell what happened."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elspeth_dagster.cli.exits import OF_STATUS, Exit
from elspeth_dagster.cli.output import print_json
from elspeth_dagster.cli.progress import progress_bars
from elspeth_dagster.cli.quiet import quiet
from elspeth_dagster.cli.settings import Settings
from elspeth_dagster.cli.stopped import Stopped, print_stopped, stopped_nodes
from elspeth_dagster.cli.summary_text import print_summary
from elspeth_dagster.cli.terminal import stdout_terminal
from elspeth_dagster.errors import LaunchError, MissingSecretError
from elspeth_dagster.landscape.balance import run_balance
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.registration import close_attempt
from elspeth_dagster.landscape.runs import RunRecord, run_of_attempt
from elspeth_dagster.landscape.status import finished_status, is_over_budget
from elspeth_dagster.landscape.summary import RunSummary, run_summary
from elspeth_dagster.llm import resolve_key
from elspeth_dagster.model.as_json import as_json
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.database import unset_variables
from elspeth_dagster.orchestration.launched import Ended, Launched
from elspeth_dagster.pipeline import Pipeline
from elspeth_dagster.pipeline.graph import SOURCE
from elspeth_dagster.pipeline.launched import outside_models

REFUSALS: Final = frozenset({"already_running", "config_changed", "missing_secret"})
"""Codes of nodes that never began: the run was refused, it did not fail."""

Launch = Callable[[], Launched]


@dataclass(frozen=True, slots=True)
class Launching:
    """One launch: what is run, where, and how it is told."""

    pipeline: Pipeline
    settings: Settings
    database: Database
    is_json: bool


@contextmanager
def writable_landscape(settings: Settings) -> Iterator[Database]:
    """The Landscape, made if it is not there, and known to be writable.

    Raises:
        LandscapeError: it cannot be opened or written, or is of another version.
    """
    database = Database(settings.landscape_url)
    try:
        database.ensure_schema()
        with database.write():
            pass  # the transaction takes the write lock: a file that is read-only refuses it here
        yield database
    finally:
        database.dispose()


def missing_keys(pipeline: Pipeline) -> list[MissingSecretError]:
    """What is wrong with the variables of models and databases that the pipeline needs, each once."""
    found: dict[str, MissingSecretError] = {}
    for node in pipeline.nodes.values():
        for name in unset_variables(node.config):
            what, where = f"The environment variable {name} is not set.", f"{node.role} {node.node_id!r}"
            found.setdefault(
                what, MissingSecretError(what, where=where, hint=f"put the database's URL into {name}")
            )
        llm = asking(node.config)
        settings = None if llm is None else pipeline.model(llm.model)
        if settings is None:
            continue
        try:
            resolve_key(settings, os.environ)
        except MissingSecretError as error:
            found.setdefault(error.what, error)
    return list(found.values())


def refuse_missing_keys(pipeline: Pipeline) -> None:
    """Raise for the first key that is missing, naming them all.

    Raises:
        LaunchError: a step's model is a Dagster resource, which only a code location has.
        MissingSecretError: a variable that a model needs is not set.
    """
    if pipeline.nodes[SOURCE].kind == "asset":
        raise LaunchError(
            "The source is a Dagster asset, which only a code location has.",
            where=f"pipeline {pipeline.name!r}",
            hint="materialize the pipeline in its code location",
        )
    outside = sorted(outside_models(pipeline))
    if outside:
        raise LaunchError(
            f"The model {outside[0]!r} is not declared: it would have to be a Dagster resource.",
            where="models:, which has " + (", ".join(pipeline.head.models) or "none"),
            hint="declare it under `models:`, or materialize the pipeline in its code location",
        )
    missing = missing_keys(pipeline)
    if missing:
        first = missing[0]
        what = " ".join(error.what for error in missing)
        raise MissingSecretError(what, where=first.where, hint=first.hint)


def execute_and_tell(launching: Launching, execute: Launch, *, run: RunRecord | None) -> int:
    """Launch, close the attempt, and tell; returns the exit status. ``run`` is the run that is resumed, if one is."""
    settings = launching.settings
    log = settings.dagster_home / "cli" / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    with quiet(log, is_debug=settings.is_debug) as screen:
        if launching.is_json or settings.is_debug:
            launched = execute()
        else:
            run_id = None if run is None else run.run_id
            with progress_bars(launching.pipeline, settings.landscape_url, screen=screen, run_id=run_id):
                launched = execute()
    known = run_of_attempt(launching.database, launched.dagster_run_id)
    if known is None:
        return _tell_unregistered(launching, launched, log)
    status = _close(launching.database, known, launched)
    summary = run_summary(launching.database, known, now=SystemClock().now())
    stopped = stopped_nodes(launched, settings, run_key=known.run_key, log=log)
    tell(launching, summary, stopped, status=_exit(launched, status))
    return _exit(launched, status)


def tell(launching: Launching, summary: RunSummary, stopped: tuple[Stopped, ...], *, status: Exit) -> None:
    """Print the summary: as a document, or for people."""
    settings = launching.settings
    if launching.is_json:
        print_json(
            {
                "exit_status": int(status),
                "landscape": settings.landscape_shown_url,
                "dagster_home": str(settings.dagster_home),
                **dict_of(summary),
                "stopped": stopped,
            }
        )
        return
    terminal = stdout_terminal()
    print_summary(terminal, summary, settings, is_stopped=bool(stopped))
    print_stopped(terminal, stopped)


def dict_of(summary: RunSummary) -> dict[str, JSON]:
    """A summary's fields, as JSON."""
    document = as_json(summary)
    assert isinstance(document, dict)  # noqa: S101 - a dataclass becomes an object
    return document


def _tell_unregistered(launching: Launching, launched: Launched, log: Path) -> int:
    """The Dagster run ended before its first node recorded anything."""
    stopped = stopped_nodes(launched, launching.settings, run_key=None, log=log)
    status = Exit.INTERRUPTED if launched.ended is Ended.INTERRUPTED else _exit(launched, RunStatus.FAILED)
    if launching.is_json:
        print_json(
            {"exit_status": int(status), "dagster_run_id": launched.dagster_run_id, "stopped": stopped}
        )
    else:
        print_stopped(stdout_terminal(), stopped)
    return status


def _close(database: Database, run: RunRecord, launched: Launched) -> RunStatus:
    if launched.ended is Ended.SUCCESS:
        status = finished_status(database, run.run_id) or RunStatus.INCOMPLETE
        reason = "every node is done" if status is not RunStatus.INCOMPLETE else "rows still wait"
    elif launched.ended is Ended.INTERRUPTED:
        status, reason = RunStatus.INTERRUPTED, "interrupted"
    else:
        status = RunStatus.INCOMPLETE if is_over_budget(database, run.run_id) else RunStatus.FAILED
        codes = [f"{failure.node_id}: {failure.code or 'failed'}" for failure in launched.failures]
        reason = ", ".join(codes) or "failed outside of its nodes"
    close_attempt(
        database,
        run_id=run.run_id,
        dagster_run_id=launched.dagster_run_id,
        status=status,
        reason=reason,
        counts=dict(run_balance(database, run.run_id).outcomes),
        clock=SystemClock(),
    )
    return status


def _exit(launched: Launched, status: RunStatus) -> Exit:
    codes = {failure.code for failure in launched.failures}
    if launched.ended is Ended.FAILURE and codes and codes <= REFUSALS:
        return Exit.REFUSED
    return OF_STATUS[status]
