"""Dagster's concurrency pools bound how many steps call a model at once, over all runs of an instance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.orchestration.assets import pipeline_assets
from elspeth_dagster.orchestration.tending import tend
from elspeth_dagster.pipeline import pipeline_from
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.celery_worker import celery_settings, celery_worker
from tests.clocks import Later
from tests.support import Project, model_at, mood_pipeline, write_csv

ROWS = 60
SLOTS = 6
POOL = "fake-model"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


@pytest.fixture
def instance(project: Project) -> Iterator[DagsterInstance]:
    with project.instance() as made:
        made.event_log_storage.set_concurrency_slots(POOL, 1)
        yield made


def _declare(project: Project, base_url: str, **execution: Any) -> None:
    """Runs of two partitions are two runs, of one model."""
    declaration = mood_pipeline(base_url, pool={"pool_size": SLOTS})
    for name, sink in declaration["sinks"].items():
        sink["path"] = f"out/{{partition}}/{name}"
    pools = {"dagster": {"pools": {"default": POOL}}, "partitions": {"static": ["a", "b"]}}
    project.declare({**declaration, **pools, "execution": execution})


def test_each_model_has_its_own_pool_and_other_nodes_have_none(tmp_path: Path) -> None:
    (tmp_path / "in.csv").touch()
    declaration: dict[str, Any] = mood_pipeline("http://127.0.0.1:9/v1")
    declaration["models"]["second"] = model_at("http://127.0.0.1:9/v1")
    again = {**declaration["steps"]["judge"], "model": "second", "answer": {"again": "str"}}
    other = {**again, "model": "default", "from": "again", "answer": {"other": "str"}}
    declaration["steps"] |= {"again": {**again, "from": "judge"}, "other": other}
    declaration["steps"]["triage"]["from"] = "other"
    declaration["dagster"] = {"pools": {"second": "small"}, "pool": "models"}
    made = pipeline_assets(pipeline_from(declaration, base=tmp_path))
    pools = {asset.op.name.removeprefix("moods__"): asset.op.pool for asset in made}
    assert {name: pool for name, pool in pools.items() if pool is not None} == {
        "judge": "models",
        "again": "small",
        "other": "models",
    }


def test_two_runs_at_once_never_call_a_model_from_more_steps_than_its_pool_has_slots(
    project: Project, instance: DagsterInstance
) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=150)) as server:
        _declare(project, server.base_url)
        _run_both(project)
        _assert_one_after_the_other(project, instance, server)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what an integration warns of is its own
def test_two_runs_of_celery_keep_to_a_pool_too(project: Project, instance: DagsterInstance) -> None:
    settings = celery_settings(project.folder / "celery")
    with FakeModelServer(FakeModelSettings(latency_ms=150)) as server:
        _declare(project, server.base_url, executor="celery", config=settings)
        with celery_worker(project.folder / "celery", settings, dagster_home=project.dagster_home, steps=2):
            _run_both(project)
        _assert_one_after_the_other(project, instance, server)


def _run_both(project: Project) -> None:
    with project.spawn("raise SystemExit(not project.run(partition='b').success)") as other:
        assert project.run(partition="a").success
        assert other.wait(timeout=100) == 0


def _assert_one_after_the_other(project: Project, instance: DagsterInstance, server: FakeModelServer) -> None:
    stats = server.stats()
    assert stats.answered == 2 * ROWS
    assert stats.peak_in_flight <= SLOTS
    executions = project.query(
        "SELECT started_at, completed_at FROM node_executions WHERE node_id = 'judge' ORDER BY started_at"
    )
    (_, first_ended), (second_began, _) = executions
    assert first_ended <= second_began
    assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.SUCCESS}
    assert instance.event_log_storage.get_concurrency_info(POOL).active_slot_count == 0


def _until(holds: Callable[[], bool]) -> None:
    """There is no event to wait for across processes."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.long
def test_a_killed_runs_slot_goes_to_the_run_that_waits_for_it(
    project: Project, instance: DagsterInstance
) -> None:
    hang = FakeModelSettings(rules=(Rule("row-30.", Fault.HANG),), hang_s=90)
    storage = instance.event_log_storage
    with FakeModelServer(hang) as server:
        _declare(project, server.base_url)
        with (
            project.spawn("project.run(partition='a')") as killed,
            project.spawn("raise SystemExit(not project.run(partition='b').success)") as waiting,
        ):
            _until(lambda: storage.get_concurrency_info(POOL).pending_step_count == 1)
            _until(lambda: server.stats().answered >= ROWS // 2)
            (holder,) = storage.get_concurrency_info(POOL).claimed_slots
            by_partition = {run.run_id: run.tags["dagster/partition"] for run in instance.get_runs()}
            process, other = (killed, waiting) if by_partition[holder.run_id] == "a" else (waiting, killed)
            process.kill()
            process.wait()
            server.change(rules=())
            database = Database(project.landscape_url)
            (buried,) = tend(instance, database, clock=Later(STALE_S + 1))
            database.dispose()
            assert buried.startswith(holder.run_id[:8])
            other.wait(timeout=60)
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses.pop(holder.run_id) is DagsterRunStatus.FAILURE
    assert set(statuses.values()) == {DagsterRunStatus.SUCCESS}
    assert storage.get_concurrency_info(POOL).active_slot_count == 0
