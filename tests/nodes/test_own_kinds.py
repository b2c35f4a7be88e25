"""Other packages add kinds of nodes, through the decorator or an entry point; the example in docs is one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from elspeth_dagster import node_kind
from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.nodes.base import Home, NodeConfig, StepConfig
from elspeth_dagster.nodes.kinds import STEP_KINDS
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.nodes.registry import Kinds

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "elspeth_redact"
BIN = Path(sys.executable).parent
DECLARATION = """
name: redacted
source: {kind: csv, path: in.csv, columns: {id: int, text: str}}
steps:
  hidden: {kind: redact, from: source, fields: [%s]}
sinks:
  out: {kind: csv, from: hidden, path: out.csv}
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The example's package as an installer would leave it: its code, and what its pyproject.toml says of it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    path = [str(info.parent), str(EXAMPLE / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "DAGSTER_HOME": str(tmp_path / "home")}


def test_the_example_package_runs_in_a_pipeline(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,write to ana@example.org\n2,nothing here\n")
    (tmp_path / "pipeline.yaml").write_text(DECLARATION % "text")
    done = _command(tmp_path, installed, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.csv").read_text() == "id,text\n1,write to [hidden]\n2,nothing here\n"


def test_its_mistakes_are_told_with_their_line(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    (tmp_path / "pipeline.yaml").write_text(DECLARATION % "txt")
    done = _command(tmp_path, installed, "validate")
    assert done.returncode == 2
    assert "pipeline.yaml:5" in done.stderr
    assert "Field 'txt' does not reach this step." in " ".join(done.stderr.split())


def test_the_examples_own_tests_pass(installed: dict[str, str]) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(EXAMPLE / "tests"),
            "-c",
            os.devnull,
        ],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_kind_of_the_project_itself_is_offered_by_the_decorator() -> None:
    @node_kind
    class UpperConfig(StepConfig):
        kind: Literal["upper"]

        def compile(self, home: Home) -> object:
            return object()

    assert STEP_KINDS["upper"] is UpperConfig
    assert "upper" in list(STEP_KINDS)


def test_a_name_that_is_taken_is_refused() -> None:
    class OtherConfig(PythonConfig):
        """Calls itself what another is called."""

    with pytest.raises(DeclarationError, match="'python' is the name of"):
        node_kind(OtherConfig)


def test_what_is_no_node_is_refused() -> None:
    class NothingConfig(NodeConfig):
        kind: Literal["nothing"]

    with pytest.raises(DeclarationError, match="is no StepConfig"):
        node_kind(NothingConfig)


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[elspeth_dagster.nodes]\nbroken = no_such_module:Config\n")
    monkeypatch.syspath_prepend(tmp_path)
    kinds = Kinds(StepConfig, {"python": PythonConfig})
    assert kinds["python"] is PythonConfig  # what is built in needs no entry point
    with pytest.raises(DeclarationError, match="'broken' cannot be loaded: ModuleNotFoundError"):
        _ = kinds["something"]


def _command(folder: Path, env: dict[str, str], word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "elspeth-dagster", word, "pipeline.yaml"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
