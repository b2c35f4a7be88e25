"""Steps in several processes, by fork server or by Celery, over PostgreSQL for the Landscape and for Dagster itself."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEvent, DagsterInstance, DagsterRunStatus

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.orchestration.liveness import PROCESS_TAG, own_process
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.celery_worker import celery_settings, celery_worker
from tests.postgres import Postgres
from tests.support import Project, mood_pipeline, write_csv

ROWS = 60
POOL = 8
LATEST_CALL_S = {"terminate": 0.5, "signal": 1.5}
"""Dagster's own Celery executor looks for a signal once a second."""

pytestmark = pytest.mark.filterwarnings("ignore")  # what an integration warns of is its own


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Iterator[Project]:
    url = postgres.ready()
    yield Project(tmp_path, url, postgres.for_dagster())
    postgres.take_back(url)


def _rows(project: Project, count: int) -> None:
    lines = [[index, f"row-{index}."] for index in range(count)]
    write_csv(project.folder / "in.csv", ["id", "text"], lines)


def _findings(project: Project) -> list[str]:
    database = Database(project.landscape_url)
    try:
        ((run_id,),) = project.query("SELECT run_id FROM runs")
        report = verify_run(database, find_run(database, run_id), now=SystemClock().now())
        return [finding.what for check in report.checks for finding in check.findings]
    finally:
        database.dispose()


def _processes(project: Project) -> set[int]:
    """The processes that the steps ran in, by Dagster's log in its PostgreSQL."""
    with project.instance() as instance:
        (run,) = instance.get_runs()
        assert "PostgresEventLogStorage" in type(instance.event_log_storage).__name__
        logged = [record.dagster_event for record in instance.all_logs(run.run_id)]
    steps = [event for event in logged if isinstance(event, DagsterEvent) and event.is_step_start]
    return {event.pid for event in steps if event.pid is not None}


def _assert_whole(project: Project) -> None:
    """Every row left once, in order, and the audit holds."""
    rest, angry = project.jsonl("out/rest.jsonl"), project.csv("out/angry.csv")
    for numbers in ([row["id"] for row in rest], [int(row["id"]) for row in angry]):
        assert numbers
        assert numbers == sorted(numbers)
    assert len(rest) + len(angry) == ROWS
    assert _findings(project) == []


@pytest.mark.long
def test_processes_of_a_multiprocess_run_share_postgresql(project: Project) -> None:
    _rows(project, ROWS)
    with FakeModelServer() as server:
        project.declare({**mood_pipeline(server.base_url), "execution": {"executor": "multiprocess"}})
        assert project.run().success
        assert server.stats().requests == ROWS
    _assert_whole(project)
    processes = _processes(project)
    assert len(processes) == 7
    assert os.getpid() not in processes


@pytest.mark.long
def test_celery_workers_share_postgresql(project: Project) -> None:
    _rows(project, ROWS)
    settings = celery_settings(project.folder / "celery")
    with FakeModelServer() as server:
        declaration = mood_pipeline(server.base_url)
        project.declare({**declaration, "execution": {"executor": "celery", "config": settings}})
        with celery_worker(project.folder / "celery", settings, dagster_home=project.dagster_home, steps=2):
            assert project.run().success
        assert server.stats().requests == ROWS
    _assert_whole(project)
    processes = _processes(project)
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_celery_worker_runs_each_step(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's URL may come from the environment, so that its password is in no declaration."""
    _rows(project, ROWS)
    monkeypatch.setenv("CELERY_BROKER_URL", "filesystem://")
    settings = {**celery_settings(project.folder / "celery"), "broker": {"env": "CELERY_BROKER_URL"}}
    declaration: dict[str, Any] = {
        "name": "copied",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "sinks": {"out": {"kind": "csv", "from": "source", "path": "out.csv"}},
        "execution": {"executor": "celery", "config": settings},
    }
    project.declare(declaration)
    with celery_worker(project.folder / "celery", settings, dagster_home=project.dagster_home, steps=1):
        assert project.run().success
    assert [int(row["id"]) for row in project.csv("out.csv")] == list(range(ROWS))
    (process,) = _processes(project)
    assert process != os.getpid()
    with project.instance() as instance:
        (run,) = instance.get_runs()
    assert run.tags[PROCESS_TAG] == own_process()  # whose end is the run's: workers live on


def _until(holds: Callable[[], bool]) -> None:
    """There is no event to wait for across processes."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _terminate(instance: DagsterInstance, pid: int, how: str) -> None:
    """End a run as Dagster's UI does, or as the operating system does."""
    if how == "terminate":
        (run,) = instance.get_runs()
        instance.report_run_canceling(run)
    os.kill(pid, signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize("how", ["terminate", "signal"])
def test_terminating_a_run_stops_its_step_in_a_celery_worker(project: Project, how: str) -> None:
    _rows(project, 800)
    settings = celery_settings(project.folder / "celery")
    home = project.dagster_home
    with FakeModelServer(FakeModelSettings(latency_ms=400)) as server:
        declaration = mood_pipeline(server.base_url, pool={"pool_size": POOL})
        project.declare({**declaration, "execution": {"executor": "celery", "config": settings}})
        with celery_worker(project.folder / "celery", settings, dagster_home=home, steps=2):
            with project.instance() as instance, project.spawn("project.run()") as run:
                _until(lambda: server.stats().answered >= 3 * POOL or run.poll() is not None)
                _terminate(instance, run.pid, how)
                asked_at = dt.datetime.now(dt.UTC)
                run.wait(timeout=60)
                ((sent_at,),) = project.query("SELECT max(sent_at) FROM calls WHERE error_json IS NULL")
                late_s = (dt.datetime.fromisoformat(sent_at) - asked_at).total_seconds()
                assert late_s <= LATEST_CALL_S[how]
                (ended,) = instance.get_runs()
                assert ended.status is DagsterRunStatus.CANCELED
            assert project.query("SELECT status FROM node_executions WHERE node_id = 'judge'") == [
                ("interrupted",)
            ]
            counts = dict(project.query("SELECT status, count(*) FROM calls GROUP BY status"))
            assert counts == {"answered": server.stats().answered}

            server.change(latency_ms=0)
            assert project.run(resume=ended.run_id).success
        assert server.stats().repeated == 0
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(800,)]
    assert _findings(project) == []
