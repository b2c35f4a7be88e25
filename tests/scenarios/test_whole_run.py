"""Whole runs through Dagster, a real Landscape and real HTTP: everything ends once, in order, and adds up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.ordering import lost_rows
from elspeth_dagster.landscape.waiting import Feed
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.postgres import Postgres
from tests.support import Project, mood_pipeline, write_csv

ROWS = 200


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, dg.JobExecutionResult]]:
    """One run on each database."""
    folder = tmp_path_factory.mktemp("whole")
    if request.param == "sqlite":
        yield _whole_run(Project(folder, f"sqlite:///{folder / 'landscape.db'}"))
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.ready()
    yield _whole_run(Project(folder, url))
    server.take_back(url)


def _whole_run(project: Project) -> tuple[Project, dg.JobExecutionResult]:
    """A run with a bad source row, a row that the model never answers well, and one that it answers late."""
    rows: list[list[object]] = [[index, f"message {index}"] for index in range(ROWS)]
    rows[7] = ["seven", "message 7"]
    rows[11] = [11, "poison"]
    rows[13] = [13, "slip"]
    write_csv(project.folder / "in.csv", ["id", "text"], rows)
    rules = (Rule("poison", Fault.REFUSAL), Rule("slip", Fault.MISSING_FIELDS, times=1))
    with FakeModelServer(FakeModelSettings(latency_ms=5, latency_spread=0.5, rules=rules)) as server:
        project.declare(mood_pipeline(server.base_url))
        return project, project.run()


def test_every_row_ends_in_exactly_one_outcome(finished: tuple[Project, dg.JobExecutionResult]) -> None:
    project, result = finished
    assert result.success
    found = project.query(
        "SELECT t.token_id, count(o.outcome_id) FROM tokens t LEFT JOIN token_outcomes o "
        "ON o.token_id = t.token_id AND o.is_terminal GROUP BY t.token_id"
    )
    assert len(found) == ROWS
    assert {count for _, count in found} == {1}
    outcomes = dict(project.query("SELECT outcome, count(*) FROM token_outcomes GROUP BY outcome"))
    assert outcomes == {"routed": ROWS - 1, "quarantined": 1}


def test_output_order_is_input_order_and_nothing_is_lost(
    finished: tuple[Project, dg.JobExecutionResult],
) -> None:
    project, _ = finished
    angry = [int(row["id"]) for row in project.csv("out/angry.csv")]
    rest = [row["id"] for row in project.jsonl("out/rest.jsonl")]
    failed = [row["id"] for row in project.jsonl("out/failures.jsonl")]
    assert angry == sorted(angry)
    assert rest == sorted(rest)
    assert sorted([*angry, *rest, *failed]) == [index for index in range(ROWS) if index != 7]
    assert failed == [11]


def test_a_bad_row_is_quarantined_with_its_violation(finished: tuple[Project, dg.JobExecutionResult]) -> None:
    project, _ = finished
    (bad,) = project.jsonl("out/bad.jsonl")
    assert (bad["id"], bad["text"]) == ("seven", "message 7")
    assert bad["_error"]["violations"] == [
        {"field": "id", "expected": "int", "actual": "text", "code": "wrong_type"}
    ]


def test_an_invalid_answer_is_asked_again_and_each_call_is_a_record(
    finished: tuple[Project, dg.JobExecutionResult],
) -> None:
    project, _ = finished
    found = project.query(
        "SELECT c.call_index, c.try_no, c.status, c.error_json IS NOT NULL FROM calls c "
        "WHERE c.state_id LIKE '%-000000013@judge' ORDER BY c.call_index"
    )
    assert [(index, try_no, status, bool(bad)) for index, try_no, status, bad in found] == [
        (0, 1, "answered", True),
        (1, 2, "answered", False),
    ]


def test_a_row_that_never_gets_a_sound_answer_fails_with_the_answers_code(
    finished: tuple[Project, dg.JobExecutionResult],
) -> None:
    project, _ = finished
    (failed,) = project.jsonl("out/failures.jsonl")
    assert failed["_error"]["code"] == "refused"
    assert failed["_error"]["answers"] == 2
    status, port = project.query(
        "SELECT status, out_port FROM node_states WHERE state_id LIKE '%-000000011@judge'"
    )[0]
    assert (status, port) == ("failed", "error")


def test_the_pools_order_is_recorded_without_gap(finished: tuple[Project, dg.JobExecutionResult]) -> None:
    project, _ = finished
    contexts = project.query("SELECT context_after_json FROM node_states WHERE node_id = 'judge'")
    pools = [json.loads(text)["pool"] for (text,) in contexts]
    assert sorted(pool["submit_index"] for pool in pools) == list(range(ROWS - 1))
    assert sorted(pool["complete_index"] for pool in pools) == list(range(ROWS - 1))
    assert all(pool["buffer_wait_ms"] >= 0 for pool in pools)
    assert [pool["submit_index"] for pool in pools] != [pool["complete_index"] for pool in pools]


@pytest.mark.parametrize("row", [0, 60, ROWS - 1])
def test_a_deleted_record_is_named_from_the_order(tmp_path: Path, row: int) -> None:
    project, _ = _whole_run(Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}"))
    copy = tmp_path / "copy.db"
    with sqlite3.connect(project.folder / "landscape.db") as original, sqlite3.connect(copy) as connection:
        original.backup(connection)
        connection.execute("DROP TRIGGER node_states_refuses_delete")
        run_id, key = connection.execute("SELECT run_id, run_key FROM runs").fetchone()
        lost = f"{key}-{row:09d}"
        connection.execute("DELETE FROM node_states WHERE token_id = ? AND node_id = 'judge'", (lost,))
    original.close()
    connection.close()
    database = Database(f"sqlite:///{copy}")

    found = lost_rows(
        database,
        run_id=run_id,
        node_id="judge",
        execution_id=f"{key}/judge",
        feeds=[Feed("source", "out", is_source=True)],
    )

    database.dispose()
    assert [row.token_id for row in found] == [lost]


def test_every_call_has_a_state_and_an_intent_before_its_answer(
    finished: tuple[Project, dg.JobExecutionResult],
) -> None:
    project, _ = finished
    assert project.query("SELECT count(*) FROM calls WHERE status = 'open'") == [(0,)]
    assert project.query(
        "SELECT count(*) FROM calls c LEFT JOIN node_states s ON s.state_id = c.state_id WHERE s.state_id IS NULL"
    ) == [(0,)]
    assert project.query("SELECT count(*) FROM calls WHERE sent_at > answered_at") == [(0,)]


def test_each_node_reports_to_dagster_and_balances(finished: tuple[Project, dg.JobExecutionResult]) -> None:
    _, result = finished
    materialized = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }
    assert set(materialized) == {
        "moods/source", "moods/judge", "moods/triage/angry", "moods/triage/rest",
        "moods/angry", "moods/rest", "moods/failures", "moods/bad",
    }  # fmt: skip
    judge = {name: entry.value for name, entry in materialized["moods/judge"].items()}
    assert judge["elspeth/rows_in"] == ROWS - 1
    assert judge["elspeth/rows_failed"] == 1
    assert judge["elspeth/max_concurrent_reached"] == 8
    assert isinstance(judge["elspeth/prompt_tokens"], int)
    checks = result.get_asset_check_evaluations()
    assert [check.check_name for check in checks].count("balance") == len(materialized)
    assert [check.check_name for check in checks].count("order") == 1
    assert all(check.passed for check in checks)


def test_a_row_whose_prompt_fails_passes_no_pool_and_keeps_its_place(tmp_path: Path) -> None:
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
    write_csv(tmp_path / "in.csv", ["id", "text"], [[0, "a"], [1, "b"], [2, "c"], [3, "d"]])
    with FakeModelServer() as server:
        declaration = mood_pipeline(
            server.base_url, prompt="{{ row.text if row.id % 2 == 0 else row.id / 0 }}", max_error_rate=1.0
        )
        project.declare(declaration)
        assert project.run().success
        assert server.stats().requests == 2
    assert [row["id"] for row in project.jsonl("out/failures.jsonl")] == [1, 3]
    assert {row["_error"]["code"] for row in project.jsonl("out/failures.jsonl")} == {"template_failed"}
