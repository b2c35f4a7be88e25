"""SIGTERM and Ctrl-C end a run cleanly: no call starts later, what is in flight is recorded, the rest waits."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import DagsterRunStatus

from elspeth_dagster.errors import AlreadyRunningError
from elspeth_dagster.orchestration.interruption import interruptible
from elspeth_dagster.pooling.executor import DRAIN_S
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.scenarios.conftest import findings
from tests.support import Project, mood_pipeline, write_csv

ROWS = 400
POOL = 8
LATENCY_MS = 400
LATEST_CALL_S = 0.5
COMMAND = Path(sys.executable).parent / "elspeth-dagster"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    (tmp_path / "workspace.yaml").touch()
    return Project(tmp_path, f"sqlite:///{tmp_path / '.elspeth' / 'landscape.db'}")


def start(project: Project) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "run", str(project.declaration), "--json"],
        cwd=project.folder,
        env={**os.environ, "DAGSTER_HOME": str(project.dagster_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """There is no event to wait for across a process that is to be interrupted."""
    deadline = time.monotonic() + 60
    while not holds():
        assert process.poll() is None, process.stdout.read() if process.stdout else b""
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("which", "executor"),
    [
        (signal.SIGTERM, "in_process"),
        pytest.param(signal.SIGINT, "in_process", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "multiprocess", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, "multiprocess", marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_the_run_cleanly_and_a_resume_buys_nothing_twice(
    project: Project, which: signal.Signals, executor: str
) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=LATENCY_MS)) as server:
        declaration = mood_pipeline(server.base_url, pool={"pool_size": POOL})
        project.declare({**declaration, "execution": {"executor": executor}})
        process = start(project)
        wait_until(lambda: server.stats().answered >= 3 * POOL, process)
        if which is signal.SIGINT:
            os.killpg(process.pid, which)  # as a terminal does: to the run's whole group
        else:
            process.send_signal(which)
        signalled_at = dt.datetime.now(dt.UTC)
        process.communicate(timeout=60)

        assert process.returncode == 130
        (latest_sent,) = project.query("SELECT max(sent_at) FROM calls WHERE error_json IS NULL")
        late_s = (dt.datetime.fromisoformat(latest_sent[0]) - signalled_at).total_seconds()
        assert late_s <= LATEST_CALL_S
        counts = dict(project.query("SELECT status, count(*) FROM calls GROUP BY status"))
        assert set(counts) <= {"answered", "failed"}  # none is open, none of unknown outcome
        assert counts["answered"] == server.stats().answered
        states = dict(
            project.query("SELECT status, count(*) FROM node_states WHERE node_id = 'judge' GROUP BY status")
        )
        assert set(states) == {"completed", "interrupted"} or set(states) == {"completed"}
        assert project.query("SELECT status FROM node_executions WHERE node_id = 'judge'") == [
            ("interrupted",)
        ]
        assert project.query("SELECT status FROM run_attempts") == [("interrupted",)]
        with project.instance() as instance:
            (run,) = instance.get_runs()
            assert run.status is DagsterRunStatus.CANCELED
        assert findings(project) == []

        server.change(latency_ms=0)
        assert project.run(resume=run.run_id).success
        assert server.stats().repeated == 0
    assert findings(project) == []
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]


@pytest.mark.parametrize(
    "is_draining",
    [True, pytest.param(False, marks=pytest.mark.long, id="both at once")],
)
def test_a_second_signal_ends_the_run_at_once_and_as_cleanly(project: Project, *, is_draining: bool) -> None:
    hang = FakeModelSettings(rules=(Rule("row-2", Fault.HANG),), hang_s=60)  # row-2, row-20, row-21, ...
    with FakeModelServer(hang) as server, project.instance() as instance:
        project.declare(mood_pipeline(server.base_url, pool={"pool_size": POOL}))
        process = start(project)
        wait_until(lambda: server.stats().requests >= 19 + POOL, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run's whole group
        if is_draining:
            wait_until(lambda: instance.get_runs()[0].status is DagsterRunStatus.CANCELING, process)
        os.killpg(process.pid, signal.SIGTERM)
        signalled_s = time.monotonic()
        told, _ = process.communicate(timeout=60)

        assert process.returncode == 130, told
        if is_draining:  # two at once are one
            assert time.monotonic() - signalled_s < DRAIN_S
        document = json.loads(told)
        assert document["status"] == "interrupted"
        assert " resume " in document["stopped"][0]["resume"]
        assert b"Traceback" not in told
        (run,) = instance.get_runs()
        assert run.status is DagsterRunStatus.CANCELED
        assert project.query("SELECT status FROM run_attempts") == [("interrupted",)]

        server.change(rules=())
        assert project.run(resume=run.run_id).success
        assert server.stats().repeated <= POOL
    assert project.query("SELECT count(*) FROM calls WHERE status = 'unknown'")[0][0] <= POOL
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]


class StopTheStepError(BaseException):
    """As Dagster raises it."""


def test_work_that_is_interrupted_comes_to_its_end_before_the_interrupt_goes_on() -> None:
    stop, ended = Stop(), threading.Event()

    def work() -> None:
        assert stop.wait(timeout=30)
        ended.set()

    def tick() -> None:
        raise StopTheStepError

    told: list[bool] = []
    with pytest.raises(StopTheStepError):
        interruptible(work, stop=stop, tick=tick, stopping=lambda: told.append(ended.is_set()))
    assert ended.is_set()
    assert told


@pytest.mark.parametrize(("repeats", "comes_to_its_end"), [(0, False), (1, True)])
def test_an_interrupt_may_come_twice_and_mean_one(*, repeats: int, comes_to_its_end: bool) -> None:
    stop, release, ended = Stop(), threading.Event(), threading.Event()
    told: list[None] = []

    def work() -> None:
        assert release.wait(timeout=30)
        ended.set()

    def tick() -> None:
        raise StopTheStepError

    def stopping() -> None:
        told.append(None)
        if len(told) == 1:  # the other one comes while the first is being told
            raise StopTheStepError
        release.set()

    with pytest.raises(StopTheStepError):
        interruptible(work, stop=stop, tick=tick, stopping=stopping, repeats=repeats)
    assert ended.is_set() is comes_to_its_end
    assert stop.is_set()
    release.set()


def test_what_the_work_raises_and_returns_comes_out() -> None:
    def refuse() -> None:
        raise AlreadyRunningError("Another run works here.")

    with pytest.raises(AlreadyRunningError):
        interruptible(refuse, stop=Stop(), tick=lambda: None, stopping=lambda: None)
    assert interruptible(lambda: 7, stop=Stop(), tick=lambda: None, stopping=lambda: None) == 7


def test_a_stop_tells_whoever_asked_once_it_is_set_and_at_once_if_it_is() -> None:
    stop = Stop()
    told: list[str] = []
    with stop.telling(lambda: told.append("gone")):
        pass
    with stop.telling(lambda: told.append("first")):
        stop.set()
    with stop.telling(lambda: told.append("late")):
        pass
    assert told == ["first", "late"]
