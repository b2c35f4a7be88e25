"""Several queries a row: they share the pool with all other rows', and a row is all or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, model_at, write_csv

QUERIES = {
    name: {
        "prompt": f"{name}? {{{{ row.text }}}}",
        "answer": {"level": {"type": "int", "minimum": 1, "maximum": 9}},
    }
    for name in ("severity", "clarity", "tone", "risk")
}


def _project(folder: Path, rows: int) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(rows)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def _judged(base_url: str, **llm: Any) -> dict[str, Any]:
    return {
        "name": "judged",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {"judge": {"kind": "llm", "from": "source", "on_error": "failures", **llm}},
        "sinks": {
            "out": {"kind": "csv", "from": "judge", "path": "out.csv"},
            "failures": {"kind": "jsonl", "path": "failures.jsonl"},
        },
    }


def test_thirty_rows_of_four_queries_fill_a_pool_of_120(tmp_path: Path) -> None:
    project = _project(tmp_path, 30)
    with FakeModelServer(FakeModelSettings(latency_ms=400)) as server:
        pool = {"pool_size": 120, "throttle": "fixed"}
        project.declare(_judged(server.base_url, queries=QUERIES, pool=pool))
        assert project.run().success
        assert server.stats().peak_in_flight == 120
    rows = project.csv("out.csv")
    assert [row["id"] for row in rows] == [str(index) for index in range(30)]
    assert list(rows[0]) == ["id", "text", "severity_level", "clarity_level", "tone_level", "risk_level"]


def test_every_querys_call_is_under_its_rows_state_and_numbered_without_gap(tmp_path: Path) -> None:
    project = _project(tmp_path, 10)
    slip = Rule("tone? row-3.", Fault.MISSING_FIELDS, times=1)
    with FakeModelServer(FakeModelSettings(rules=(slip,))) as server:
        project.declare(_judged(server.base_url, queries=QUERIES, pool={"pool_size": 16}))
        assert project.run().success
    found = project.query(
        "SELECT state_id, call_index, query, try_no FROM calls ORDER BY state_id, call_index"
    )
    by_state: dict[str, list[tuple[int, str, int]]] = {}
    for state_id, index, query, try_no in found:
        by_state.setdefault(state_id, []).append((index, query, try_no))
    assert len(by_state) == 10
    for state_id, calls in by_state.items():
        expected = 5 if "-000000003@" in state_id else 4
        assert [index for index, _, _ in calls] == list(range(expected))
        assert {query for _, query, _ in calls} == set(QUERIES)
    slipped = next(calls for state_id, calls in by_state.items() if "-000000003@" in state_id)
    assert sorted(try_no for _, query, try_no in slipped if query == "tone") == [1, 2]


def test_a_row_is_all_or_nothing_and_says_which_query_failed_and_why(tmp_path: Path) -> None:
    project = _project(tmp_path, 5)
    with FakeModelServer(FakeModelSettings(rules=(Rule("clarity? row-2.", Fault.REFUSAL),))) as server:
        project.declare(_judged(server.base_url, queries=QUERIES, pool={"pool_size": 8}))
        assert project.run().success
    assert [row["id"] for row in project.csv("out.csv")] == ["0", "1", "3", "4"]
    (failed,) = project.jsonl("failures.jsonl")
    assert failed["id"] == 2
    assert "severity_level" not in failed
    assert failed["_error"]["code"] == "query_failed"
    assert failed["_error"]["message"] == "Failed: clarity (refused)."
    error = json.loads(project.query("SELECT error_json FROM node_states WHERE status = 'failed'")[0][0])
    assert error["queries"] == [{"query": "clarity", "code": "refused", "answers": 2}]


def test_cases_by_criteria_are_their_cross_product(tmp_path: Path) -> None:
    project = _project(tmp_path, 3)
    with FakeModelServer() as server:
        declaration = _judged(
            server.base_url,
            case_studies=[
                {"name": "c1", "input_fields": ["text"], "tone": "dry"},
                {"name": "c2", "tone": "warm"},
            ],
            criteria=[
                {"name": "clarity", "description": "easy to read"},
                {"name": "depth", "description": "says much"},
            ],
            prompt="{{ case_study.tone }}: judge {{ criterion.description }} of {{ row.text }}",
            answer={"score": "int"},
            pool={"pool_size": 4},
        )
        project.declare(declaration)
        assert project.run().success
        assert server.stats().requests == 12
    fields = ["c1_clarity_score", "c1_depth_score", "c2_clarity_score", "c2_depth_score"]
    assert list(project.csv("out.csv")[0]) == ["id", "text", *fields]


def test_the_order_of_the_queries_is_recorded_beside_the_rows(tmp_path: Path) -> None:
    project = _project(tmp_path, 12)
    with FakeModelServer(FakeModelSettings(latency_ms=5, latency_spread=0.5)) as server:
        project.declare(_judged(server.base_url, queries=QUERIES, pool={"pool_size": 6}))
        assert project.run().success
    contexts = [
        json.loads(text)
        for (text,) in project.query("SELECT context_after_json FROM node_states WHERE node_id = 'judge'")
    ]
    assert sorted(context["pool"]["submit_index"] for context in contexts) == list(range(12))
    calls = [call for context in contexts for call in context["query_ordering"]]
    assert sorted(call["submit_index"] for call in calls) == list(range(48))
    assert sorted(call["complete_index"] for call in calls) == list(range(48))
