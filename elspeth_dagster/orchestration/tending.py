"""Tend to runs that nobody tends to: close what has ended, and bury what died.

Dagster cannot tell that a run of its default launcher is dead, and it has no last step in which the Landscape could
learn how a run ended.
"""

from __future__ import annotations

import datetime as dt
import socket
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from elspeth_dagster.landscape.abandoned import OpenAttempts, free, open_attempts
from elspeth_dagster.landscape.balance import run_balance
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.landscape.registration import close_attempt
from elspeth_dagster.landscape.status import finished_status, is_over_budget
from elspeth_dagster.model.clock import Clock, timestamp
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.orchestration.liveness import PROCESS_TAG, process_exists

_ENDS: Final = {
    DagsterRunStatus.FAILURE: (RunStatus.FAILED, "the Dagster run failed"),
    DagsterRunStatus.CANCELED: (RunStatus.INTERRUPTED, "the Dagster run was cancelled"),
}


def tend(instance: DagsterInstance, database: Database, *, clock: Clock) -> list[str]:
    """Close attempts whose Dagster run has ended, and end Dagster runs that are dead; returns what was done."""
    done: list[str] = []
    for attempts in open_attempts(database):
        run = instance.get_run_by_id(attempts.dagster_run_id)
        if run is None:
            continue  # another Dagster's
        if run.is_finished:
            if attempts.is_working:  # Dagster knows that it ended, but the node never did
                if not _is_gone(attempts, run, now=clock.now()):
                    continue  # what is in flight is still recorded
                _free(instance, database, run)
            done += [
                f"{run_id[:8]} {_close(database, run_id, run, clock=clock).value}"
                for run_id in attempts.run_ids
            ]
        elif is_dead(attempts, run, now=clock.now()):
            _bury(instance, database, attempts, run, clock=clock)
            done.append(f"{attempts.run_ids[0][:8]} is dead: reported as failed")
    return done


def is_dead(attempts: OpenAttempts, run: DagsterRun, *, now: dt.datetime) -> bool:
    """Silent for too long while a node is at work; between two nodes its process must be gone from this host, too."""
    if not _is_silent(attempts, now=now):
        return False
    return attempts.is_working or _has_lost_its_process(attempts, run)


def _is_gone(attempts: OpenAttempts, run: DagsterRun, *, now: dt.datetime) -> bool:
    return _is_silent(attempts, now=now) or _has_lost_its_process(attempts, run)


def _is_silent(attempts: OpenAttempts, *, now: dt.datetime) -> bool:
    return attempts.heartbeat_at < timestamp(now - dt.timedelta(seconds=STALE_S))


def _has_lost_its_process(attempts: OpenAttempts, run: DagsterRun) -> bool:
    """Whether it was on this host, and is no more."""
    process = run.tags.get(PROCESS_TAG) or f"{attempts.host}:{attempts.pid}"
    host, _, pid = process.rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and not process_exists(int(pid))


def _free(instance: DagsterInstance, database: Database, run: DagsterRun) -> None:
    """What it held, in both stores. From then on no orphan of the run can write."""
    free(database, run.run_id)
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _bury(
    instance: DagsterInstance, database: Database, attempts: OpenAttempts, run: DagsterRun, *, clock: Clock
) -> None:
    """Freed first, closed last: what fails midway is done by the next tick."""
    _free(instance, database, run)
    instance.report_run_failed(
        run,
        message=f"Nothing was heard of this run since {attempts.heartbeat_at}: its process is gone. "
        "Re-execute it from failure: nothing that was recorded is done twice.",
    )
    for run_id in attempts.run_ids:
        _close_as(database, run_id, run, RunStatus.FAILED, "its heartbeat stopped", clock=clock)


def _close(database: Database, run_id: str, run: DagsterRun, *, clock: Clock) -> RunStatus:
    if run.status is DagsterRunStatus.SUCCESS:
        finished = finished_status(database, run_id)
        status, reason = (
            finished or RunStatus.INCOMPLETE,
            "every node is done" if finished else "rows still wait",
        )
    else:
        status, reason = _ENDS[run.status]
        if status is RunStatus.FAILED and is_over_budget(database, run_id):
            status, reason = RunStatus.INCOMPLETE, "a budget is spent"
    _close_as(database, run_id, run, status, reason, clock=clock)
    return status


def _close_as(
    database: Database, run_id: str, run: DagsterRun, status: RunStatus, reason: str, *, clock: Clock
) -> None:
    close_attempt(
        database,
        run_id=run_id,
        dagster_run_id=run.run_id,
        status=status,
        reason=reason,
        counts=dict(run_balance(database, run_id).outcomes),
        clock=clock,
    )
