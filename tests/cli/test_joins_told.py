"""What joins do is told in words: late tokens are no failed rows, and the exit status does not count them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.support import Project, write_csv

ROWS = 12


@pytest.fixture
def raced(tmp_path: Path) -> Project:
    """Two branches under `first`: one of each pair is late."""
    write_csv(tmp_path / "in.csv", ["id"], [[index] for index in range(ROWS)])
    project = Project(tmp_path, f"sqlite:///{tmp_path / '.elspeth' / 'landscape.db'}")
    project.declare(
        {
            "name": "raced",
            "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
            "steps": {
                "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
                "joined": {"kind": "coalesce", "from": {"a": "split.a", "b": "split.b"}, "policy": "first"},
            },
            "sinks": {"out": {"kind": "jsonl", "from": "joined", "path": "out.jsonl"}},
        }
    )
    return project


def test_late_tokens_are_part_of_a_complete_run(cli: InProcess, raced: Project) -> None:
    said = cli(raced.folder, "run", raced.declaration.name)
    assert said.status == 0, said.err
    assert "  completed in " in said.out
    assert f"  {ROWS}  out" in said.out
    assert f"  {ROWS}  late" in said.out
    assert "as its policy has it" in said.out
    assert "Failed rows" not in said.out
    key = raced.query("SELECT run_key FROM runs")[0][0]
    told = cli(raced.folder, "failures", key)
    assert "joined  late_arrival_after_merge" in told.out
    assert "no failure of the run" in told.out
    assert cli(raced.folder, "verify", key).status == 0
