"""After a failure or a kill, the run goes on where it was, and nothing that was paid for is bought again."""

from __future__ import annotations

import datetime as dt
import signal
import time
from pathlib import Path

import dagster as dg
import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.purge import plan_purge, purge
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.scenarios.conftest import findings
from tests.support import Project, mood_pipeline, write_csv

POOL = 8
WAIT_S_MAX = 60


def _project(folder: Path, rows: int) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(rows)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def test_a_later_node_that_failed_once_is_resumed_without_repeating_a_call(tmp_path: Path) -> None:
    project = _project(tmp_path, 60)
    blocked = tmp_path / "out" / "angry.csv"
    blocked.mkdir(parents=True)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        first = project.run()
        assert not first.success
        assert server.stats().requests == 60

        blocked.rmdir()
        second = project.run(resume=first.run_id)

        assert second.success
        assert server.stats().requests == 60
    assert project.query("SELECT count(*) FROM runs") == [(1,)]
    assert project.query("SELECT attempt, dagster_run_id FROM run_attempts ORDER BY attempt") == [
        (1, first.run_id),
        (2, second.run_id),
    ]
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(60,)]


def test_a_node_that_stopped_in_the_middle_takes_over_its_recorded_answers(tmp_path: Path) -> None:
    project = _project(tmp_path, 60)
    with FakeModelServer(FakeModelSettings(latency_ms=2)) as server:
        project.declare(mood_pipeline(server.base_url))
        server.change(rules=(Rule("row-50.", Fault.HTTP_401),))
        first = project.run()
        assert not first.success
        assert "HTTP 401" in _failures(first)
        assert project.query("SELECT count(*) FROM token_outcomes WHERE outcome = 'failed'") == [(0,)]

        server.change(rules=())
        assert project.run(resume=first.run_id).success

        assert server.stats().repeated == 0
    assert project.query("SELECT count(*) FROM calls WHERE reused_from IS NOT NULL")[0][0] <= 60
    _assert_complete(project, 60)


def test_a_run_killed_in_the_middle_of_the_llm_node_is_finished_by_a_resume(tmp_path: Path) -> None:
    project = _project(tmp_path, 300)
    hang = FakeModelSettings(latency_ms=2, rules=(Rule("row-150.", Fault.HANG),), hang_s=60)
    with FakeModelServer(hang) as server:
        project.declare(mood_pipeline(server.base_url, pool={"pool_size": POOL}))
        process = project.spawn("project.run()")
        _until(lambda: server.stats().answered >= 200, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = server.stats()
        dead = _the_only_run(project)
        assert findings(project) == [], "what a killed run left is open, not wrong"

        server.change(rules=())
        result = project.run(resume=dead)

        assert result.success
        after = server.stats()
    answered_twice = after.repeated
    assert answered_twice <= POOL
    assert after.answered - before.answered <= 300 - before.answered + POOL
    unknown = project.query("SELECT count(*) FROM calls WHERE status = 'unknown'")[0][0]
    assert 1 <= unknown <= POOL
    assert answered_twice <= unknown
    reused = project.query("SELECT count(*) FROM calls WHERE reused_from IS NOT NULL")[0][0]
    assert reused > 0
    _assert_complete(project, 300)


def test_a_run_that_was_purged_is_not_resumed_in_dagster_either_and_buys_nothing(tmp_path: Path) -> None:
    project = _project(tmp_path, 20)
    with FakeModelServer(FakeModelSettings(rules=(Rule("row-15.", Fault.HTTP_401),))) as server:
        project.declare(mood_pipeline(server.base_url))
        first = project.run()
        assert not first.success
        database = Database(project.landscape_url)
        next_year = dt.datetime.now(dt.UTC) + dt.timedelta(days=365)
        plan = plan_purge(database, older_than=dt.timedelta(days=30), shown="30d", now=next_year)
        assert len(purge(database, plan, now=next_year)) == 1
        database.dispose()
        server.change(rules=())
        asked = server.stats().requests

        resumed = project.run(resume=first.run_id)

        assert not resumed.success
        assert (
            f"Run {first.run_id[:8]} cannot go on: its rows were purged on {next_year:%Y-%m-%d}."
            in _failures(resumed)
        )
        assert server.stats().requests == asked
    assert findings(project) == []
    assert project.query("SELECT status FROM run_attempts ORDER BY attempt") == [("failed",), ("failed",)]


def _assert_complete(project: Project, rows: int) -> None:
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(rows,)]
    assert project.query("SELECT count(*) FROM node_states WHERE status = 'open'") == [(0,)]
    assert project.query("SELECT count(*) FROM calls WHERE status = 'open'") == [(0,)]
    assert project.query("SELECT count(*) FROM node_executions WHERE status = 'open'") == [(0,)]
    ids = [int(row["id"]) for row in project.csv("out/angry.csv")]
    rest = [int(row["id"]) for row in project.jsonl("out/rest.jsonl")]
    assert ids == sorted(ids)
    assert rest == sorted(rest)
    assert sorted(ids + rest) == list(range(rows))
    assert findings(project) == []


def _the_only_run(project: Project) -> str:
    with project.instance() as instance:
        (run,) = instance.get_runs()
        instance.report_run_failed(run)
        return run.run_id


def _until(holds: object, process: object) -> None:
    """Wait for another process to come so far; there is no event to wait for across a process that will be killed."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"  # type: ignore[attr-defined]
        if holds():  # type: ignore[operator]
            return
        time.sleep(0.02)
    pytest.fail("the run did not come so far in time")


def test_a_second_launch_is_refused_while_the_first_is_alive(tmp_path: Path) -> None:
    project = _project(tmp_path, 40)
    with FakeModelServer(FakeModelSettings(rules=(Rule("row-5.", Fault.HANG),), hang_s=60)) as server:
        project.declare(mood_pipeline(server.base_url))
        process = project.spawn("project.run()")
        try:
            _until(lambda: server.stats().answered >= 10, process)

            second = project.run()

            assert not second.success
            assert "Another run works on pipeline 'moods'" in _failures(second)
            assert server.stats().repeated == 0
            assert server.stats().requests <= 40  # the first run's own
        finally:
            process.kill()
            process.wait()


def test_a_declaration_that_decides_otherwise_is_refused_on_resume(tmp_path: Path) -> None:
    project = _project(tmp_path, 10)
    (tmp_path / "out" / "angry.csv").mkdir(parents=True)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        first = project.run()
        (tmp_path / "out" / "angry.csv").rmdir()
        project.declare(mood_pipeline(server.base_url, prompt="Another question: {{ row.text }}"))

        second = project.run(resume=first.run_id)

        assert not second.success
        assert "judge.prompt was" in _failures(second)
        assert server.stats().requests == 10


def test_a_changed_pool_is_no_changed_decision(tmp_path: Path) -> None:
    project = _project(tmp_path, 10)
    (tmp_path / "out" / "angry.csv").mkdir(parents=True)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        first = project.run()
        (tmp_path / "out" / "angry.csv").rmdir()
        project.declare(mood_pipeline(server.base_url, pool={"pool_size": 3}))

        assert project.run(resume=first.run_id).success


def _failures(result: dg.JobExecutionResult) -> str:
    said = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            said.append(str(data.user_failure_data.description if data.user_failure_data else data.error))
    return "\n".join(said)
