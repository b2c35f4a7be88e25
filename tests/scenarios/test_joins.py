"""Forks and joins through Dagster: joins in its graph, numbers in its event log, branches in processes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.orchestration.assets import pipeline_assets
from elspeth_dagster.pipeline import load_pipeline
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, model_at, write_csv

ROWS = 40


def two_views(base_url: str, executor: str) -> dict[str, Any]:
    """Two questions about each text, in branches of their own; joined, then judged by a gate."""
    question = {"kind": "llm", "pool": {"pool_size": 4}}
    return {
        "name": "views",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "execution": {"executor": executor},
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["mood", "urgency"]},
            "mood": {
                **question,
                "from": "split.mood",
                "prompt": "How does the writer feel? {{ row.text }}",
                "answer": {"mood": {"enum": ["calm", "angry"]}},
                "on_error": "failures",
            },
            "urgency": {
                **question,
                "from": "split.urgency",
                "prompt": "How urgent is it? {{ row.text }}",
                "answer": {"urgency": {"type": "int", "minimum": 1, "maximum": 5}},
                "on_error": "failures",
            },
            "joined": {"kind": "coalesce", "from": {"mood": "mood", "urgency": "urgency"}},
            "triage": {
                "kind": "gate",
                "from": "joined",
                "routes": {"now": "row.urgency >= 3 and row.mood == 'angry'"},
                "otherwise": "rest",
            },
        },
        "sinks": {
            "now": {"kind": "jsonl", "from": "triage.now", "path": "out/now.jsonl"},
            "rest": {"kind": "jsonl", "from": "triage.rest", "path": "out/rest.jsonl"},
            "failures": {"kind": "jsonl", "path": "out/failures.jsonl"},
        },
    }


def ran(folder: Path, executor: str) -> tuple[Project, dg.JobExecutionResult]:
    folder.mkdir()
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    rows: list[list[object]] = [[index, f"message {index}"] for index in range(ROWS)]
    rows[5] = [5, "poison"]
    write_csv(folder / "in.csv", ["id", "text"], rows)
    settings = FakeModelSettings(latency_ms=2, rules=(Rule("poison", Fault.REFUSAL),))
    with FakeModelServer(settings) as server:
        project.declare(two_views(server.base_url, executor))
        return project, project.run()


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dg.JobExecutionResult]:
    return ran(tmp_path_factory.mktemp("joins") / "one", "in_process")


def metadata_of(result: dg.JobExecutionResult, *key: str) -> dict[str, Any]:
    (event,) = (
        result.get_asset_materialization_events_for(key)
        if False
        else [
            one
            for one in result.get_asset_materialization_events()
            if one.asset_key == dg.AssetKey(list(key))
        ]
    )
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_join_is_a_join_in_dagsters_graph(in_process: tuple[Project, dg.JobExecutionResult]) -> None:
    project, _ = in_process
    assets = {key: one for one in pipeline_assets(load_pipeline(project.declaration)) for key in one.keys}
    split = assets[dg.AssetKey(["views", "split", "mood"])]
    assert split.keys == {dg.AssetKey(["views", "split", branch]) for branch in ("mood", "urgency")}
    joined = dg.AssetKey(["views", "joined"])
    assert assets[joined].asset_deps[joined] == {
        dg.AssetKey(["views", "mood"]),
        dg.AssetKey(["views", "urgency"]),
    }


def test_every_row_has_both_views_or_failed_whole(in_process: tuple[Project, dg.JobExecutionResult]) -> None:
    project, result = in_process
    assert result.success
    rows = sorted(project.jsonl("out/now.jsonl") + project.jsonl("out/rest.jsonl"), key=lambda row: row["id"])
    assert [row["id"] for row in rows] == [index for index in range(ROWS) if index != 5]
    assert all({"mood", "urgency", "text"} <= row.keys() for row in rows)
    outcomes = dict(project.query("SELECT outcome, count(*) FROM token_outcomes GROUP BY 1"))
    assert outcomes == {"forked": ROWS, "coalesced": 2 * (ROWS - 1), "routed": ROWS - 1 + 2}


def test_the_joins_numbers_are_on_its_materialization(
    in_process: tuple[Project, dg.JobExecutionResult],
) -> None:
    _, result = in_process
    said = metadata_of(result, "views", "joined")
    assert (said["elspeth/policy"], said["elspeth/merge_strategy"]) == ("require_all", "union")
    assert (said["elspeth/rows_in"], said["elspeth/rows_out"]) == (2 * (ROWS - 1), ROWS - 1)
    assert said["dagster/row_count"] == ROWS - 1
    orders = {record.data["order"]: record.data["count"] for record in said["elspeth/arrival_order"].records}
    assert orders.keys() <= {"mood > urgency", "urgency > mood"}
    assert sum(orders.values()) == ROWS - 1
    assert said["elspeth/branches_lost"] == {"mood": {"failed": 1}, "urgency": {"failed": 1}}
    assert all(isinstance(said[f"elspeth/wait_{what}_ms"], float) for what in ("p50", "p95", "max"))
    assert said["elspeth/rows_late"] == 0
    assert metadata_of(result, "views", "split", "mood")["dagster/row_count"] == ROWS


MEETING = """
import os, pathlib, threading

def _meet(row, mine, other):
    folder = pathlib.Path(__file__).parent
    (folder / mine).touch()
    if (folder / "parallel").exists() and row["id"] == 0:
        for _ in range(6000):  # at most a minute: the other process is being started
            if (folder / other).exists():
                break
            threading.Event().wait(0.01)
        else:
            raise TimeoutError("the other branch never ran beside this one")
    if row["id"] % 7 == 3:
        raise ValueError("told to")
    return {**row, mine: os.getpid() > 0}

def left(row):
    return _meet(row, "left", "right")

def right(row):
    return _meet(row, "right", "left")
"""


def meeting(folder: Path, executor: str) -> Project:
    """Two branches, each of which waits for the other to be running, where they run in parallel."""
    folder.mkdir()
    (folder / "meeting.py").write_text(MEETING)
    if executor == "multiprocess":
        (folder / "parallel").touch()
    write_csv(folder / "in.csv", ["id"], [[index] for index in range(100)])
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    project.declare(
        {
            "name": "meeting",
            "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
            "execution": {"executor": executor},
            "steps": {
                "split": {"kind": "fork", "from": "source", "branches": ["left", "right"]},
                "one": {"kind": "python", "from": "split.left", "call": "meeting:left"},
                "two": {"kind": "python", "from": "split.right", "call": "meeting:right"},
                "joined": {"kind": "coalesce", "from": {"left": "one", "right": "two"}},
            },
            "sinks": {"out": {"kind": "jsonl", "from": "joined", "path": "out.jsonl"}},
        }
    )
    return project


@pytest.mark.long
def test_branches_in_parallel_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    projects = [meeting(tmp_path / executor, executor) for executor in ("in_process", "multiprocess")]
    assert all(project.run().success for project in projects)
    rows = [project.jsonl("out.jsonl") for project in projects]
    assert rows[0] == rows[1]
    assert [row["id"] for row in rows[0]] == [index for index in range(100) if index % 7 != 3]
    asked = "SELECT substr(token_id, 9), outcome, sink, error_code FROM token_outcomes ORDER BY 1"
    assert projects[0].query(asked) == projects[1].query(asked)
