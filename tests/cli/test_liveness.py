"""A run counts as dead only when its process is known to be gone, or was silent for too long."""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from elspeth_dagster.errors import AlreadyRunningError
from elspeth_dagster.model.clock import timestamp
from elspeth_dagster.orchestration.liveness import PROCESS_TAG, end_if_dead, own_process, process_exists

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
JUST_NOW = timestamp(NOW - dt.timedelta(seconds=10))
LONG_AGO = timestamp(NOW - dt.timedelta(seconds=100))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _run(instance: dg.DagsterInstance, process: str) -> dg.DagsterRun:
    run = dg.DagsterRun(job_name="moods", status=DagsterRunStatus.STARTED, tags={PROCESS_TAG: process})
    return instance.add_run(run)


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_that_is_gone_is_reported_as_failed(instance: dg.DagsterInstance) -> None:
    run = _run(instance, f"{socket.gethostname()}:{_dead_pid()}")
    ended = end_if_dead(instance, run, attempt=None, heartbeat_at=JUST_NOW, now=NOW)
    assert ended.status is DagsterRunStatus.FAILURE


def test_a_process_that_is_there_is_left_alone_however_silent(instance: dg.DagsterInstance) -> None:
    run = _run(instance, f"{socket.gethostname()}:{os.getppid()}")
    with pytest.raises(AlreadyRunningError, match="still under way"):
        end_if_dead(instance, run, attempt=None, heartbeat_at=LONG_AGO, now=NOW)


def test_a_run_that_names_this_very_process_is_over(instance: dg.DagsterInstance) -> None:
    run = _run(instance, own_process())
    assert end_if_dead(instance, run, attempt=None, heartbeat_at=JUST_NOW, now=NOW).is_finished


def test_on_another_host_only_silence_tells(instance: dg.DagsterInstance) -> None:
    run = _run(instance, "elsewhere:1")
    with pytest.raises(AlreadyRunningError, match="moods"):
        end_if_dead(instance, run, attempt=None, heartbeat_at=JUST_NOW, now=NOW)
    assert end_if_dead(instance, run, attempt=None, heartbeat_at=LONG_AGO, now=NOW).is_finished


def test_a_zombie_is_no_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # its end: the process has exited, or is about to
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not process_exists(process.pid)
    process.wait()
    process.stdout.close()


def test_this_process_exists() -> None:
    assert process_exists(os.getpid())
