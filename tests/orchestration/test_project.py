"""The project's own code location: what Dagster's users and its `dg` find in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

PROJECT = Path(__file__).parents[2]
PORTS = {"urgent", "soon", "normal"}
BRANCHES = {"views": {"mood", "urgency"}, "uses": {"reading", "counting"}}
NODES = {
    "source", "screened", "mood", "urgency", "judged", "tidy", "per_500", "moods",
    "call_today", "answer_soon", "answer_later", "failures", "bad_rows",
}  # fmt: skip


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    """The definitions as a workspace loads them."""
    sys.path.insert(0, str(PROJECT))
    try:
        from definitions import defs  # noqa: PLC0415 - the project's top-level file

        loaded = defs()
        assert isinstance(loaded, dg.Definitions)
        return loaded
    finally:
        sys.path.remove(str(PROJECT))


def test_one_asset_a_node_and_a_gates_port(location: dg.Definitions) -> None:
    keys = {spec.key for spec in location.resolve_all_asset_specs()}
    expected = {dg.AssetKey(["complaints", node]) for node in NODES}
    expected |= {dg.AssetKey(["complaints", "triage", port]) for port in PORTS}
    expected |= {
        dg.AssetKey(["complaints", fork, branch]) for fork, names in BRANCHES.items() for branch in names
    }
    assert keys == expected


def test_every_asset_has_group_kinds_code_version_and_a_balance_check(location: dg.Definitions) -> None:
    checks = location.resolve_asset_graph().asset_check_keys
    for spec in location.resolve_all_asset_specs():
        assert spec.group_name == "complaints"
        assert spec.kinds
        assert spec.code_version
        assert spec.description
        assert dg.AssetCheckKey(spec.key, "balance") in checks


def test_edges_are_dependencies(location: dg.Definitions) -> None:
    graph = location.resolve_asset_graph()

    def feeders(*key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(list(key))).parent_keys}

    assert feeders("complaints", "views", "mood") == {"complaints/screened"}
    assert feeders("complaints", "mood") == {"complaints/views/mood"}
    assert feeders("complaints", "judged") == {"complaints/mood", "complaints/urgency"}
    assert feeders("complaints", "triage", "urgent") == {"complaints/uses/reading"}
    assert feeders("complaints", "per_500") == {"complaints/uses/counting"}
    assert feeders("complaints", "call_today") == {"complaints/triage/urgent"}
    assert feeders("complaints", "failures") == {
        f"complaints/{node}" for node in ("screened", "mood", "urgency", "judged")
    }
    assert feeders("complaints", "bad_rows") == {"complaints/source"}


def test_the_columns_that_leave_a_node_are_in_its_schema(location: dg.Definitions) -> None:
    specs = {spec.key.path[-1]: spec for spec in location.resolve_all_asset_specs()}
    schema = specs["judged"].metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert [(column.name, column.type) for column in schema.columns][-2:] == [
        ("mood", "str"),
        ("urgency", "int"),
    ]


@pytest.mark.parametrize(
    "command", [["check", "defs"], ["check", "yaml"], ["list", "components"], ["list", "defs"]]
)
def test_dg_accepts_the_project(command: list[str], tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        [str(binaries / "dg"), *command],
        cwd=PROJECT,
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "VIRTUAL_ENV": str(binaries.parent),
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if command == ["list", "components"]:
        assert "elspeth_dagster.PipelineComponent" in done.stdout
    if command == ["list", "defs"]:
        assert "complaints/triage/urgent" in done.stdout
