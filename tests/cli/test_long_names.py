"""Garbage for a name takes one line of a story, not a screen; the document has it as it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.support import Project

NAME = "n" * 100_000


@pytest.mark.parametrize(("value", "kept"), [(1, NAME), ("x", "[cut: 67232 more characters]")])
def test_a_story_cuts_a_fields_name_short(
    cli: InProcess, tmp_path: Path, value: int | str, kept: str
) -> None:
    url = f"sqlite:///{tmp_path / 'landscape.db'}"
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": value, NAME: 2}) + "\n")
    project = Project(tmp_path, url)
    project.declare(
        {
            "name": "long",
            "source": {
                "kind": "jsonl", "path": "in.jsonl", "columns": {"id": "int"}, "extra_columns": "keep",
                "on_invalid": "bad",
            },
            "steps": {"cut": {"kind": "map", "from": "source", "drop": ["id"]}},
            "sinks": {
                "good": {"kind": "jsonl", "from": "cut", "path": "good.jsonl"},
                "bad": {"kind": "jsonl", "path": "bad.jsonl"},
            },
        }
    )  # fmt: skip
    run = project.run()
    assert run.success

    said = cli(tmp_path, "explain", run.run_id[:8], "--row", "0", "--landscape", url)
    document = cli(tmp_path, "explain", run.run_id[:8], "--row", "0", "--landscape", url, "--json")

    assert (said.status, document.status) == (0, 0)
    assert "nnn…" in said.out
    assert len(said.out) < 5_000
    assert kept in document.out
