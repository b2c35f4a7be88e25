"""However a node's execution ends, it is sealed, and Dagster's event log is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import dagster_runs_of, find_run
from elspeth_dagster.landscape.verify import VerifyReport, verify_run
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.orchestration.witness import sealed_runs, witness_of
from elspeth_dagster.testing import FakeModelServer, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv


def _project(folder: Path, rows: int = 40) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(rows)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def _verified(project: Project, run_id: str) -> VerifyReport:
    database = Database(project.landscape_url)
    try:
        run = find_run(database, run_id)
        with project.instance() as instance:
            witness = witness_of(
                instance,
                run.run_id,
                pipeline=run.pipeline,
                dagster_run_ids=dagster_runs_of(database, run.run_id),
            )
        return verify_run(database, run, now=SystemClock().now(), witness=witness)
    finally:
        database.dispose()


def _told(result: dg.JobExecutionResult) -> dict[str, str]:
    """Node: the seal on its materialization."""
    found: dict[str, str] = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            metadata: Any = event.step_materialization_data.materialization.metadata
            assert event.asset_key is not None
            found[event.asset_key.path[1]] = metadata["elspeth/seal"].value
    return found


def _findings(report: VerifyReport) -> list[Any]:
    return [finding for check in report.checks for finding in check.findings]


def test_every_materialization_carries_the_seal_of_its_execution(tmp_path: Path) -> None:
    project = _project(tmp_path)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = project.run()
    stored = project.query(
        "SELECT e.node_id, s.seal_hash FROM seals s JOIN node_executions e ON e.execution_id = s.execution_id"
    )
    assert _told(result) == {node: seal_hash.hex() for node, seal_hash in stored}
    assert len(stored) == 7
    report = _verified(project, result.run_id)
    assert _findings(report) == []
    assert report.counts["seals"] == 7
    assert report.notes == ()


def test_a_node_that_stopped_tells_its_seal_in_its_failure_and_the_resume_goes_on_from_it(
    tmp_path: Path,
) -> None:
    project = _project(tmp_path)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        server.change(rules=(Rule("row-30.", Fault.HTTP_401),))
        first = project.run()
        assert not first.success
        (failure,) = [event for event in first.all_events if event.is_step_failure]
        said = failure.step_failure_data.user_failure_data
        assert said is not None
        ((seal_hash,),) = project.query(
            "SELECT s.seal_hash FROM seals s JOIN node_executions e ON e.execution_id = s.execution_id "
            "WHERE e.node_id = 'judge'"
        )
        assert said.metadata["elspeth/seal"].value == seal_hash.hex()
        assert _findings(_verified(project, first.run_id)) == []

        server.change(rules=())
        assert project.run(resume=first.run_id).success
    assert _findings(_verified(project, first.run_id)) == []
    assert project.query("SELECT max(sequence), count(*) FROM seals") == [(8, 8)]


def test_a_bug_in_a_step_is_shown_as_it_is_and_its_seal_told_beside_it(
    tmp_path: Path, monkeypatch: Any
) -> None:
    project = _project(tmp_path)

    def broken(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("elspeth_dagster.runtime.kind_run.run_sink", broken)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = project.run()
    with project.instance() as instance:
        entries = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    assert len(entries) == 4  # one for each sink
    report = _verified(project, result.run_id)
    assert _findings(report) == []
    assert not [note for note in report.notes if "not told" in note]
    failed = [event for event in result.all_events if event.is_step_failure]
    assert all("ZeroDivisionError" in event.step_failure_data.error_display_string for event in failed)


def test_dagster_remembers_a_run_that_was_removed(tmp_path: Path) -> None:
    project = _project(tmp_path, rows=5)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = project.run()
    with project.instance() as instance:
        assert sealed_runs(instance, result.run_id[:8]) == {result.run_id: 7}
        assert sealed_runs(instance, result.run_id) == {result.run_id: 7}
        assert sealed_runs(instance, "no such run") == {}
