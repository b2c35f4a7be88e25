"""Is the process that drives a Dagster run still there? Dagster itself cannot tell for runs of the default launcher."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Final

from dagster import DagsterInstance, DagsterRun

from elspeth_dagster.errors import AlreadyRunningError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.landscape.runs import AttemptRecord, attempts_of
from elspeth_dagster.landscape.watching import holder_of
from elspeth_dagster.model.clock import timestamp

PROCESS_TAG: Final = "elspeth/process"
"""``host:pid`` of the process that drives a run, where it was launched on the command line or has Celery's steps."""


def own_process() -> str:
    """This process, as the tag names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def driving_pid(executor: str) -> int:
    """The process that drives the run of this step: itself, or its parent where each step has a process of its own."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or not executor.startswith("multi") else parent.pid or os.getpid()


def end_if_dead(
    instance: DagsterInstance,
    run: DagsterRun,
    *,
    attempt: AttemptRecord | None,
    heartbeat_at: str,
    now: dt.datetime,
) -> DagsterRun:
    """``run`` as it stands, reported as failed first if its process is gone.

    The process is known by its tag, else by the attempt that it recorded; on another host only silence tells.

    Raises:
        AlreadyRunningError: it is alive, or may be.
    """
    if run.is_finished:
        return run
    process = run.tags.get(PROCESS_TAG) or (f"{attempt.host}:{attempt.pid}" if attempt else "")
    host, _, pid = process.rpartition(":")
    if host == socket.gethostname() and pid.isdigit():
        is_dead = int(pid) == os.getpid() or not process_exists(int(pid))
    else:
        is_dead = heartbeat_at < timestamp(now - dt.timedelta(seconds=STALE_S))
    if not is_dead:
        raise AlreadyRunningError(
            f"Run {run.run_id[:8]} of {run.job_name!r} is still under way.",
            where=f"Dagster run {run.run_id}, process {pid or 'unknown'} on {host or 'an unknown host'}, "
            f"last heard of at {heartbeat_at[:19].replace('T', ' ')}",
            hint="wait for it, or end that process first",
        )
    instance.report_run_failed(run, message="The run's process is gone: reported by `elspeth-dagster`.")
    ended = instance.get_run_by_id(run.run_id)
    return run if ended is None else ended


def refuse_rival(
    instance: DagsterInstance,
    database: Database,
    pipeline: str,
    partition: str | None = None,
    *,
    now: dt.datetime,
) -> None:
    """Make sure that no live run of this instance holds the pipeline, or this partition of it.

    A run whose process died is reported as failed.

    Raises:
        AlreadyRunningError: another run works on the pipeline.
    """
    holder = holder_of(database, pipeline, partition_key=partition)
    run = None if holder is None else instance.get_run_by_id(holder.dagster_run_id)
    if holder is None or run is None:
        return
    attempt = next(
        (one for one in attempts_of(database, holder.run_id) if one.dagster_run_id == run.run_id), None
    )
    end_if_dead(instance, run, attempt=attempt, heartbeat_at=holder.heartbeat_at, now=now)


def process_exists(pid: int) -> bool:
    """Whether a process of this host is there and not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # a system without /proc: the signal is all there is
    state = stat.rpartition(")")[2].split()[:1]
    return state != ["Z"]
