"""What a run costs Dagster's database depends on its nodes, not on its rows: 30 metadata entries, 50 events a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEventType, EventLogEntry

from tests.support import Project, write_csv

METADATA_MAX = 30
EVENTS_MAX = 50
BAD_EVERY = 97
"""One record in so many has no number for an id; another has a number by which the map cannot divide."""

NODES = {
    "source",
    "tidy",
    "triage",
    "split",
    "one",
    "two",
    "joined",
    "per_100",
    "out",
    "rest",
    "failures",
    "bad",
}


def declaration() -> dict[str, Any]:
    """Every kind of node that needs no model, with rows that fail and rows that do not fit."""
    return {
        "name": "wide",
        "source": {
            "kind": "csv",
            "path": "in.csv",
            "columns": {"id": "int", "number": "int"},
            "on_invalid": "bad",
        },
        "steps": {
            "tidy": {
                "kind": "map",
                "from": "source",
                "set": {"tens": "row.id % 10", "share": "100 / row.number"},
                "on_error": "failures",
            },
            "triage": {
                "kind": "gate",
                "from": "tidy",
                "routes": {"few": "row.tens < 3"},
                "otherwise": "many",
            },
            "split": {"kind": "fork", "from": "triage.many", "branches": ["a", "b"]},
            "one": {"kind": "map", "from": "split.a", "set": {"x": "row.id + 1"}},
            "two": {"kind": "map", "from": "split.b", "set": {"y": "row.id + 2"}},
            "joined": {"kind": "coalesce", "from": {"a": "one", "b": "two"}},
            "per_100": {
                "kind": "aggregate",
                "from": "joined",
                "trigger": {"count": 100},
                "run": {"kind": "stats", "fields": ["x", "y"], "group_by": ["tens"]},
            },
        },
        "sinks": {
            "out": {"kind": "csv", "from": "per_100", "path": "out.csv"},
            "rest": {"kind": "jsonl", "from": "triage.few", "path": "rest.jsonl"},
            "failures": {"kind": "jsonl", "path": "failures.jsonl"},
            "bad": {"kind": "jsonl", "path": "bad.jsonl"},
        },
    }


def record(index: int) -> list[object]:
    if index % BAD_EVERY == 0:
        return ["no number", index]
    return [index, 0 if index % BAD_EVERY == 1 else index]


def log_of(folder: Path, rows: int) -> Sequence[EventLogEntry]:
    """Everything that Dagster's event log holds of one run over so many records."""
    write_csv(folder / "in.csv", ["id", "number"], [record(index) for index in range(rows)])
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    project.declare(declaration())
    result = project.run()
    assert result.success
    assert project.query("SELECT rows_in FROM node_executions WHERE node_id = 'source'") == [(rows,)]
    with project.instance() as instance:
        return instance.all_logs(result.run_id)


def assert_bounded(log: Sequence[EventLogEntry]) -> None:
    events = Counter(entry.step_key.removeprefix("wide__") for entry in log if entry.step_key)
    assert events.keys() == NODES
    assert max(events.values()) <= EVENTS_MAX, events
    made = [
        entry.dagster_event.step_materialization_data.materialization
        for entry in log
        if entry.dagster_event and entry.dagster_event.event_type is DagsterEventType.ASSET_MATERIALIZATION
    ]
    assert {one.asset_key.path[1] for one in made} == NODES
    assert max(len(one.metadata) for one in made) <= METADATA_MAX
    assert len(log) <= EVENTS_MAX * (len(NODES) + 1)  # and what belongs to no node


def test_two_thousand_rows_cost_few_events_and_entries(tmp_path: Path) -> None:
    assert_bounded(log_of(tmp_path, 2_000))


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_hundred_thousand_rows_cost_few_events_and_entries(tmp_path: Path) -> None:
    assert_bounded(log_of(tmp_path, 100_000))
