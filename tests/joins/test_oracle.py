"""Any graph of forks, joins and gates leaves behind, token by token, what an interpreter of the semantics says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from elspeth_dagster.landscape.balance import run_balance
from elspeth_dagster.landscape.database import Database
from tests.joins.graphs import Graph, graphs
from tests.joins.injected import CLOCK
from tests.joins.oracle import Oracle
from tests.noderuns import NodeRuns, node_runs, short, source_of

COLUMNS = {"id": "int", "x": "int", "items": "json", "plan": "json"}
QUICK = settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
LONG = settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.fixture(scope="module")
def empty_landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Landscape with nothing in it, to be copied: making one costs more than a small run."""
    path = tmp_path_factory.mktemp("empty") / "landscape.db"
    database = Database(f"sqlite:///{path}")
    database.ensure_schema()
    database.dispose()
    return path


@QUICK
@given(graph=graphs())
def test_a_run_leaves_behind_what_the_semantics_say(
    graph: Graph, empty_landscape: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    agree(graph, empty_landscape, tmp_path_factory.mktemp("graph"))


@pytest.mark.long
@pytest.mark.timeout(3600)
@LONG
@given(graph=graphs())
def test_hundreds_of_runs_leave_behind_what_the_semantics_say(
    graph: Graph, empty_landscape: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    agree(graph, empty_landscape, tmp_path_factory.mktemp("graph"))


def agree(graph: Graph, empty_landscape: Path, folder: Path) -> None:
    """Run the graph for real, and compare everything with the oracle."""
    shutil.copy(empty_landscape, folder / "landscape.db")
    declaration = graph.declaration(source_of(folder, graph.rows, COLUMNS))
    try:
        with node_runs(folder, declaration, clock=CLOCK) as run:
            reports = run.run()
            oracle = Oracle(declaration).run(graph.rows, list(run.pipeline.nodes))
            assert run.outcomes() == oracle.outcomes
            assert decisions(run) == oracle.decisions
            assert parents(run) == oracle.parents
            for sink, rows in oracle.sinks.items():
                if sink != "errors":
                    assert run.rows(sink) == rows
            assert all(report.balance.holds for report in reports.values())
            assert run_balance(run.database, run.run_id).waiting == 0
            assert run.findings() == []
    finally:
        shutil.rmtree(folder)


def decisions(run: NodeRuns) -> dict[tuple[str, str], dict[str, Any]]:
    """What every join decided, as the oracle writes it down."""
    found = {}
    events = run.query("SELECT node_id, parent_token_id, merged_token_id, metadata_json FROM coalesce_events")
    for node_id, parent, merged, metadata in events:
        said = json.loads(metadata)
        assert (merged is None) == ("reason" in said)
        lost = said["branches_lost"]
        for one in lost.values():
            if "token_id" in one:
                one["token_id"] = short(one["token_id"])
        found[node_id, short(parent)] = {
            "arrived": [
                (one["branch"], short(one["token_id"]), one["arrival_offset_ms"])
                for one in said["arrival_order"]
            ],
            "lost": lost,
            "reason": said.get("reason"),
            "wait": said["wait_duration_ms"],
        }
    return found


def parents(run: NodeRuns) -> dict[str, list[str]]:
    """The parents of every made token, in order."""
    found: dict[str, list[str]] = {}
    for token, parent in run.query(
        "SELECT token_id, parent_token_id FROM token_parents ORDER BY token_id, ordinal"
    ):
        found.setdefault(short(token), []).append(short(parent))
    return found
