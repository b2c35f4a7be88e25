"""A fork ends every token and sends one down each branch: same row, in order, once, also after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.pipeline.load import pipeline_from
from tests.noderuns import NodeRuns, node_runs, sink, source_of

ROWS = [{"id": index} for index in range(5)]


def forked(folder: Path, **fork: Any) -> dict[str, Any]:
    return {
        "name": "forked",
        "source": source_of(folder, ROWS, {"id": "int"}),
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["left", "right"], **fork},
            "double": {"kind": "map", "from": "split.left", "set": {"twice": "row.id * 2"}},
        },
        "sinks": {
            "left": sink("double", name="left"),
            "right": sink("split.right", name="right"),
        },
    }


def test_every_branch_gets_every_row_in_order(tmp_path: Path) -> None:
    with node_runs(tmp_path, forked(tmp_path)) as run:
        reports = run.run()
        assert run.rows("left") == [{"id": index, "twice": index * 2} for index in range(5)]
        assert run.rows("right") == ROWS
        assert reports["split"].tally.by_port == {"left": 5, "right": 5}
        assert (reports["split"].tally.rows_in, reports["split"].tally.rows_out) == (5, 10)
        assert all(report.balance.holds for report in reports.values())
        assert run.findings() == []


def test_the_parent_ends_forked_and_each_child_knows_it(tmp_path: Path) -> None:
    with node_runs(tmp_path, forked(tmp_path)) as run:
        run.run()
        assert run.outcomes()["3"] == ("forked", None, None)
        assert run.outcomes()["3/left"] == ("completed", "left", None)
        parents = run.query(
            "SELECT substr(token_id, -7), substr(parent_token_id, -1), ordinal, relation FROM token_parents "
            "WHERE token_id LIKE '%000003/%' ORDER BY token_id"
        )
        assert parents == [("03/left", "3", 0, "fork"), ("3/right", "3", 0, "fork")]
        assert run.query("SELECT DISTINCT branch FROM tokens ORDER BY 1") == [(None,), ("left",), ("right",)]


def test_a_child_has_a_state_of_its_own_with_its_branch_as_port(tmp_path: Path) -> None:
    with node_runs(tmp_path, forked(tmp_path)) as run:
        run.run()
        states = run.query(
            "SELECT out_port, status, input_hash IS NULL, output_hash IS NULL, count(*) FROM node_states "
            "WHERE node_id = 'split' GROUP BY 1, 2, 3, 4 ORDER BY 1"
        )
        assert states == [
            (None, "completed", 0, 1, 5),
            ("left", "completed", 1, 0, 5),
            ("right", "completed", 1, 0, 5),
        ]


def test_forking_again_writes_nothing_new(tmp_path: Path) -> None:
    with node_runs(tmp_path, forked(tmp_path)) as run:
        run.run()
        before = _counts(run)
        again = run.run("split")
        assert again["split"].tally.rows_in == 0
        assert _counts(run) == before


def _counts(run: NodeRuns) -> list[int]:
    return [
        run.query(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - our own names
        for table in ("tokens", "token_parents", "node_states", "token_outcomes")
    ]


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        (["left", "left"], "Branch 'left' is named twice."),
        (["left", "error"], "Port name 'error' has a meaning of its own; choose another."),
        (["left", "No"], "Port 'No' must be lower case letters"),
        (["left"], "2"),
    ],
)
def test_branches_that_cannot_be_are_refused(tmp_path: Path, branches: list[str], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(forked(tmp_path, branches=branches), base=tmp_path)
    assert any(said in mistake for mistake in refused.value.mistakes), refused.value.mistakes
