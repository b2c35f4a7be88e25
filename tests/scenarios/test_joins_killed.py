"""A join that is killed in the middle of its work is resumed to what it would have been, with nothing doubled."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.noderuns import node_runs
from tests.support import Project, write_csv

ROWS = 900
KILLED_AFTER = 700
"""Decisions: several pages of them, some durable and some not."""

KILL = f"""
import os, signal
from elspeth_dagster.runtime.join_records import DecisionRecorder
real, left = DecisionRecorder.record, iter(range({KILLED_AFTER}))
def record(self, *args):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *args)
DecisionRecorder.record = record
project.run()
"""


def pipeline(folder: Path) -> dict[str, Any]:
    """Two branches, each of which fails for some rows; both fail for every thirtieth."""
    folder.mkdir()
    write_csv(folder / "in.csv", ["id"], [[index] for index in range(ROWS)])
    return {
        "name": "killed",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["tens", "fifteens"]},
            "one": {"kind": "map", "from": "split.tens", "set": {"x": "10 // (row.id % 10)"}},
            "two": {"kind": "map", "from": "split.fifteens", "set": {"y": "10 // (row.id % 15)"}},
            "joined": {
                "kind": "coalesce",
                "from": {"tens": "one", "fifteens": "two"},
                "policy": "best_effort",
            },
        },
        "sinks": {"out": {"kind": "jsonl", "from": "joined", "path": "out.jsonl"}},
    }


DECIDED = (
    "SELECT substr(token_id, 9), outcome, error_code FROM token_outcomes ORDER BY 1",
    "SELECT substr(token_id, 9), substr(parent_token_id, 9), relation FROM token_parents ORDER BY 1, 2",
    "SELECT node_id, out_port, status, count(*) FROM node_states GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT substr(event_id, 9), merged_token_id IS NULL, json_extract(metadata_json, '$.branches_lost') FROM "  # noqa: ISC004
    "coalesce_events ORDER BY 1",
)
"""Everything that a join decides, without times and run keys."""


def test_a_killed_join_is_resumed_and_decides_the_same(tmp_path: Path) -> None:
    with node_runs(tmp_path / "undisturbed", pipeline(tmp_path / "undisturbed")) as undisturbed:
        undisturbed.run()
        expected, rows = [undisturbed.query(sql) for sql in DECIDED], undisturbed.rows("out")
    declaration = pipeline(tmp_path / "killed")
    project = Project(tmp_path / "killed", f"sqlite:///{tmp_path / 'killed' / 'landscape.db'}")
    project.declare(declaration)
    assert project.spawn(KILL).wait(timeout=100) == -signal.SIGKILL
    ((decided,),) = project.query("SELECT count(*) FROM coalesce_events")
    assert 0 < decided <= KILLED_AFTER
    with project.instance() as instance:
        (run,) = instance.get_runs()
        instance.report_run_failed(run)
    assert project.run(resume=run.run_id).success
    assert [project.query(sql) for sql in DECIDED] == expected
    assert project.jsonl("out.jsonl") == rows
    assert len(rows) == ROWS - ROWS // 30
