"""A run that died is found by its silence, reported as failed in both stores, and holds nothing any more."""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from elspeth_dagster.landscape.abandoned import OpenAttempts
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.model.clock import SystemClock, timestamp
from elspeth_dagster.orchestration.build import shared_definitions
from elspeth_dagster.orchestration.resources import LandscapeResource
from elspeth_dagster.orchestration.runs_sensor import runs_sensor
from elspeth_dagster.orchestration.tending import is_dead, tend
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.clocks import Later
from tests.support import Project, mood_pipeline, write_csv

ROWS = 60
POOL = 4


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    opened = Database(project.landscape_url)
    opened.ensure_schema()
    yield opened
    opened.dispose()


def test_a_killed_run_is_failed_in_both_stores_freed_and_can_be_resumed(
    project: Project, database: Database
) -> None:
    hang = FakeModelSettings(rules=(Rule("row-30.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server, project.instance() as instance:
        declaration = mood_pipeline(server.base_url, pool={"pool_size": POOL})
        project.declare({**declaration, "dagster": {"pool": "models"}})
        instance.event_log_storage.set_concurrency_slots("models", 1)
        _kill_in_the_model_step(project, server)
        (run,) = instance.get_runs()

        assert tend(instance, database, clock=Later(STALE_S - 30)) == []
        assert instance.get_runs()[0].status is DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_info("models").active_slot_count == 1

        assert tend(instance, database, clock=Later(STALE_S + 1)) == [
            f"{run.run_id[:8]} is dead: reported as failed"
        ]
        assert instance.get_runs()[0].status is DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_info("models").active_slot_count == 0
        assert project.query("SELECT status, end_reason FROM run_attempts") == [
            ("failed", "its heartbeat stopped")
        ]
        assert project.query("SELECT count(*) FROM leases") == [(0,)]
        assert project.query("SELECT count(*) FROM fences WHERE node_id = 'judge'") == [(0,)]
        assert tend(instance, database, clock=Later(STALE_S + 1)) == []

        server.change(rules=())
        assert project.run(resume=run.run_id).success
        assert server.stats().repeated <= POOL
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]


def test_what_a_killed_run_held_is_freed_though_dagster_failed_it_before(
    project: Project, database: Database
) -> None:
    hang = FakeModelSettings(rules=(Rule("row-30.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server, project.instance() as instance:
        declaration = mood_pipeline(server.base_url, pool={"pool_size": POOL})
        project.declare({**declaration, "dagster": {"pool": "models"}})
        instance.event_log_storage.set_concurrency_slots("models", 1)
        _kill_in_the_model_step(project, server)
        (run,) = instance.get_runs()
        instance.report_run_failed(run)  # as a code server does that sees its child die

        assert tend(instance, database, clock=SystemClock()) == [f"{run.run_id[:8]} failed"]
        assert instance.event_log_storage.get_concurrency_info("models").active_slot_count == 0
        assert project.query("SELECT count(*) FROM leases") == [(0,)]
        assert project.query("SELECT count(*) FROM fences WHERE node_id = 'judge'") == [(0,)]


def test_a_run_that_dagster_ended_early_may_record_what_is_in_flight(
    project: Project, database: Database
) -> None:
    """Its process is there, and is heard of: nothing is taken from it before it has come to its end."""
    hang = FakeModelSettings(rules=(Rule("row-30.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server, project.instance() as instance:
        project.declare(mood_pipeline(server.base_url, pool={"pool_size": POOL}))
        process = project.spawn("project.run()")
        try:
            _wait_for_answers(process, server)
            (run,) = instance.get_runs()
            instance.report_run_canceled(run)  # as "Force termination immediately" does
            assert tend(instance, database, clock=SystemClock()) == []
            assert project.query("SELECT count(*) FROM leases") == [(1,)]
        finally:
            process.kill()
            process.wait()
        assert tend(instance, database, clock=SystemClock()) == [f"{run.run_id[:8]} interrupted"]
        assert project.query("SELECT count(*) FROM leases") == [(0,)]


def _kill_in_the_model_step(project: Project, server: FakeModelServer) -> None:
    process = project.spawn("project.run()")
    _wait_for_answers(process, server)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _wait_for_answers(process: subprocess.Popen[bytes], server: FakeModelServer) -> None:
    deadline = time.monotonic() + 60
    while server.stats().answered < 30:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_that_has_ended_is_closed_with_what_became_of_it(project: Project, database: Database) -> None:
    with FakeModelServer(FakeModelSettings(rules=(Rule("row-3.", Fault.CONTENT_FILTER),))) as server:
        project.declare(mood_pipeline(server.base_url))
        run_id = project.run().run_id
        (project.folder / "out" / "angry.csv").unlink()
        (project.folder / "out" / "angry.csv").mkdir()
        project.run()
    with project.instance() as instance:
        done = tend(instance, database, clock=SystemClock())
    assert f"{run_id[:8]} completed_with_failures" in done
    assert sorted(project.query("SELECT status, end_reason FROM run_attempts")) == [
        ("completed_with_failures", "every node is done"),
        ("failed", "the Dagster run failed"),
    ]


NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SILENT = timestamp(NOW - dt.timedelta(hours=3))
HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("attempts", "dead"),
    [
        (OpenAttempts("d", ("r",), HERE, os.getpid(), SILENT, is_working=True), True),
        (OpenAttempts("d", ("r",), HERE, os.getpid(), SILENT, is_working=False), False),
        (OpenAttempts("d", ("r",), HERE, 2**22 + 1, SILENT, is_working=False), True),
        (OpenAttempts("d", ("r",), "elsewhere", 2**22 + 1, SILENT, is_working=False), False),
        (OpenAttempts("d", ("r",), HERE, 2**22 + 1, timestamp(NOW), is_working=True), False),
    ],
)
def test_a_run_that_waits_between_two_nodes_is_dead_only_if_its_process_is_gone(
    attempts: OpenAttempts, *, dead: bool
) -> None:
    assert is_dead(attempts, dg.DagsterRun(job_name="moods"), now=NOW) is dead


def test_the_sensor_is_on_by_default_and_says_what_it_did(project: Project, database: Database) -> None:
    landscape = LandscapeResource(url=project.landscape_url)
    assert shared_definitions(landscape).sensors == [runs_sensor]
    assert runs_sensor.default_status is dg.DefaultSensorStatus.RUNNING
    with project.instance() as instance:
        said = runs_sensor(dg.build_sensor_context(instance), landscape=landscape)
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message == "Nothing to tend to."
