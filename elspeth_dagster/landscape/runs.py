"""Runs and the attempts at them: find one by what a person types, list the latest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import AlreadyRunningError, LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.paging import Found, Page, paged
from elspeth_dagster.landscape.schema import fences, leases, node_executions, run_attempts, runs
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON

LISTED_ON_ERROR_MAX: Final = 5  # enough to recognise the run that was meant
CANDIDATES_MAX: Final = 50  # an ambiguous prefix is refused, however many runs it fits


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as it was registered."""

    run_id: str
    run_key: str
    pipeline: str
    parent_run_id: str | None
    partition_key: str | None
    launched_by: str | None
    started_at: str
    versions: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One Dagster run that worked on a run."""

    attempt: int
    dagster_run_id: str
    status: RunStatus
    host: str
    pid: int
    started_at: str
    ended_at: str | None
    end_reason: str | None
    counts: Mapping[str, JSON] | None

    @property
    def was_refused(self) -> bool:
        """Whether it was over before it began, because another one was at work."""
        return self.end_reason == AlreadyRunningError.code


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run and its latest attempt that was let in."""

    run: RunRecord
    latest: AttemptRecord


def find_run(database: Database, text: str) -> RunRecord:
    """The one run whose key, id, or Dagster run id begins with ``text``.

    Raises:
        LandscapeError: there is none, or several; the message names those that were probably meant.
    """
    with database.read() as connection:
        found = _matching(connection, text) if text else []
        exact = [run for run in found if text in {run.run_key, run.run_id}]
        if len(exact or found) == 1:
            return (exact or found)[0]
        listed = found[:LISTED_ON_ERROR_MAX] or _latest(connection, LISTED_ON_ERROR_MAX)
    shown = ", ".join(
        f"{run.run_key} ({' '.join(filter(None, (run.pipeline, run.partition_key)))}, "
        f"{run.started_at[:16].replace('T', ' ')})"
        for run in listed
    )
    if found:
        raise LandscapeError(
            f"{text!r} is the beginning of {len(found)} runs.",
            where=database.shown_url,
            hint=f"name one of {shown}",
        )
    raise LandscapeError(
        f"There is no run {text!r}.",
        where=database.shown_url,
        hint=f"the latest are {shown}" if shown else "run a pipeline first",
    )


def recent_runs(database: Database, *, runs_max: int) -> tuple[ListedRun, ...]:
    """The latest runs, latest first, each with its latest attempt that was let in."""
    with database.read() as connection:
        return tuple(
            ListedRun(run, let_in(_attempts(connection, run.run_id))) for run in _latest(connection, runs_max)
        )


def runs_before(database: Database, moment: str) -> tuple[RunRecord, ...]:
    """The runs that were started before a moment, oldest first."""
    question = sa.select(runs).where(runs.c.started_at < moment).order_by(runs.c.started_at, runs.c.run_id)
    with database.read() as connection:
        return tuple(_run(found) for found in connection.execute(question))


def listed_page(connection: Connection, *, after: str | None, limit: int) -> Page[ListedRun]:
    """The runs with their latest attempts, latest first, a page at a time."""
    return paged(
        connection,
        sa.select(runs),
        lambda one: ListedRun(_run(one), let_in(_attempts(connection, one.run_id))),
        by=(runs.c.started_at, runs.c.run_id),
        after=after,
        limit=limit,
        is_latest_first=True,
    )


def let_in(attempts: Sequence[AttemptRecord]) -> AttemptRecord:
    """The attempt that says how the run stands: the latest, but for those that were refused beside it."""
    return next((attempt for attempt in reversed(attempts) if not attempt.was_refused), attempts[-1])


def attempts_of(database: Database, run_id: str) -> tuple[AttemptRecord, ...]:
    """The attempts at a run, in order."""
    with database.read() as connection:
        return _attempts(connection, run_id)


def dagster_runs_of(database: Database, run_id: str) -> list[str]:
    """The Dagster runs that are attempts at a run."""
    question = sa.select(run_attempts.c.dagster_run_id).where(run_attempts.c.run_id == run_id)
    with database.read() as connection:
        return [str(dagster_run_id) for dagster_run_id in connection.execute(question).scalars()]


def run_of_attempt(database: Database, dagster_run_id: str) -> RunRecord | None:
    """The run that a Dagster run is an attempt at; None if it never recorded anything."""
    question = (
        sa.select(runs)
        .join(run_attempts, run_attempts.c.run_id == runs.c.run_id)
        .where(run_attempts.c.dagster_run_id == dagster_run_id)
    )
    with database.read() as connection:
        found = connection.execute(question).first()
    return None if found is None else _run(found)


def heartbeat_of(database: Database, run_id: str) -> str:
    """When the run was last heard of: a heartbeat, the beginning or end of an execution, or of an attempt."""
    heard = [
        sa.select(sa.func.max(leases.c.heartbeat_at)).where(leases.c.run_id == run_id),
        sa.select(sa.func.max(fences.c.heartbeat_at)).where(fences.c.run_id == run_id),
        sa.select(sa.func.max(node_executions.c.completed_at)).where(node_executions.c.run_id == run_id),
        sa.select(sa.func.max(run_attempts.c.started_at)).where(run_attempts.c.run_id == run_id),
    ]
    with database.read() as connection:
        moments = [connection.execute(question).scalar() for question in heard]
    return max(str(moment) for moment in moments if moment is not None)


def _matching(connection: Connection, text: str) -> list[RunRecord]:
    by_attempt = sa.select(run_attempts.c.run_id).where(
        run_attempts.c.dagster_run_id.startswith(text, autoescape=True)
    )
    fits = sa.or_(
        runs.c.run_key.startswith(text, autoescape=True),
        runs.c.run_id.startswith(text, autoescape=True),
        runs.c.run_id.in_(by_attempt),
    )
    question = sa.select(runs).where(fits).order_by(runs.c.started_at.desc()).limit(CANDIDATES_MAX)
    return [_run(found) for found in connection.execute(question)]


def _latest(connection: Connection, runs_max: int) -> list[RunRecord]:
    question = sa.select(runs).order_by(runs.c.started_at.desc()).limit(runs_max)
    return [_run(found) for found in connection.execute(question)]


def _run(found: Found) -> RunRecord:
    return RunRecord(
        run_id=found.run_id,
        run_key=found.run_key,
        pipeline=found.pipeline,
        parent_run_id=found.parent_run_id,
        partition_key=found.partition_key,
        launched_by=found.launched_by,
        started_at=found.started_at,
        versions=_versions(found.versions_json),
    )


def _versions(text: str) -> Mapping[str, JSON]:
    """The versions; none where the record is damaged: `verify` tells of it, and has to find the run for that."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _attempts(connection: Connection, run_id: str) -> tuple[AttemptRecord, ...]:
    table = run_attempts
    question = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.attempt)
    return tuple(
        AttemptRecord(
            attempt=found.attempt,
            dagster_run_id=found.dagster_run_id,
            status=RunStatus(found.status),
            host=found.host,
            pid=found.pid,
            started_at=found.started_at,
            ended_at=found.ended_at,
            end_reason=found.end_reason,
            counts=None if found.counts_json is None else json.loads(found.counts_json),
        )
        for found in connection.execute(question)
    )
