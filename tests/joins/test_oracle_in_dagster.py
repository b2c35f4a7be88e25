"""The same interpreter holds for runs through Dagster, with its clock, its processes and its event log."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.joins.graphs import TimelessBuilder
from tests.joins.oracle import Oracle
from tests.joins.test_oracle import COLUMNS
from tests.noderuns import short, source_of
from tests.support import Project


def agree_in_dagster(folder: Path, seed: int) -> None:
    graph = TimelessBuilder(Random(seed)).build()  # noqa: S311 - the seed names the graph
    declaration = graph.declaration(source_of(folder, graph.rows, COLUMNS))
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    project.declare(declaration)
    assert project.run().success
    order = [node for (node,) in project.query("SELECT node_id FROM nodes ORDER BY sequence")]
    oracle = Oracle(declaration).run(graph.rows, order)
    found = project.query("SELECT token_id, outcome, sink, error_code FROM token_outcomes")
    assert {short(token): (outcome, sink, code) for token, outcome, sink, code in found} == oracle.outcomes
    for sink in oracle.sinks.keys() - {"errors"}:
        assert project.jsonl(f"{sink}.jsonl") == oracle.sinks[sink]


def test_a_graph_runs_through_dagster_as_the_semantics_say(tmp_path: Path) -> None:
    agree_in_dagster(tmp_path, 4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 32))
def test_graphs_run_through_dagster_as_the_semantics_say(tmp_path: Path, seed: int) -> None:
    agree_in_dagster(tmp_path, seed)
