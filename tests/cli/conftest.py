"""Real runs through the real command: one that the reading commands share, and as many more as a test makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth_dagster.cli.main import main
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

DECLARATION = "pipeline.yaml"
COMMAND = Path(sys.executable).parent / "elspeth-dagster"
ROWS = 30
FILTERED_ROW = 7
"""The model refuses to answer this one."""

INVALID_ROW = 12
"""This one's id is no number."""


def make_project(folder: Path, base_url: str, *, rows: int = ROWS, **llm: Any) -> Project:
    """A project of its own, with a few rows, and one that does not fit its columns."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workspace.yaml").touch()
    ids = ["no number" if index == INVALID_ROW else index for index in range(rows)]
    write_csv(folder / "in.csv", ["id", "text"], [[name, f"row-{at}."] for at, name in enumerate(ids)])
    project = Project(folder, f"sqlite:///{folder / '.elspeth' / 'landscape.db'}")
    declare(project, mood_pipeline(base_url, **llm))
    return project


def declare(project: Project, declaration: Mapping[str, Any]) -> None:
    """Write the project's one declaration."""
    file = project.folder / DECLARATION
    file.write_text(yaml.safe_dump(dict(declaration), sort_keys=False), encoding="utf-8")


def command(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own, typed in the project's folder."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DAGSTER_HOME", "ELSPETH_LANDSCAPE_URL"}
    }
    return subprocess.run(
        [COMMAND, *words],
        cwd=project.folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@dataclass(frozen=True)
class Finished:
    """A run that has ended, and what the command printed about it."""

    project: Project
    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.stdout)
        return made

    @property
    def key(self) -> str:
        return str(self.document["run"]["run_key"])


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`run --json` of 30 rows: one is quarantined, one is refused by the model's content filter."""
    rule = Rule(f"row-{FILTERED_ROW}.", Fault.CONTENT_FILTER)
    with FakeModelServer(FakeModelSettings(rules=(rule,))) as server:
        price = {"input": 0.15, "output": 0.6}
        project = make_project(tmp_path_factory.mktemp("finished"), server.base_url)
        declaration = mood_pipeline(server.base_url)
        declaration["models"]["default"]["price"] = price
        declare(project, declaration)
        done = command(project, "run", "pipeline.yaml", "--json")
    return Finished(project, done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What was printed, however its lines were broken."""
        return " ".join(self.out.split())


class InProcess:
    """The command inside the test's own process, in the project's folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, folder: Path, *words: str) -> Said:
        self._monkeypatch.chdir(folder)
        self._capsys.readouterr()
        status = main(words)
        captured = self._capsys.readouterr()
        return Said(status, captured.out, captured.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(capsys, monkeypatch)
