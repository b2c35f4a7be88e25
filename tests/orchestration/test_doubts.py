"""What a declaration's author hardly meant is told where definitions are loaded: once, with file and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from elspeth_dagster import build_definitions, load_pipeline
from elspeth_dagster.errors import DeclarationWarning
from elspeth_dagster.orchestration.doubts import told_already

COLLIDING = {
    "name": "twice",
    "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
    "steps": {
        "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
        "one": {"kind": "map", "from": "split.a", "set": {"x": "1"}},
        "two": {"kind": "map", "from": "split.b", "set": {"x": "2"}},
        "joined": {"kind": "coalesce", "from": {"a": "one", "b": "two"}},
    },
    "sinks": {"out": {"kind": "csv", "from": "joined", "path": "out.csv"}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("id\n1\n")
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(COLLIDING, sort_keys=False))
    return path


def test_it_is_a_warning_of_the_declarations_line(file: Path) -> None:
    with pytest.warns(DeclarationWarning, match="each make a field 'x'") as told:
        build_definitions(load_pipeline(file))
    (warning,) = told
    assert Path(warning.filename) == file
    assert file.read_text().splitlines()[warning.lineno - 1].strip() == "joined:"


def test_a_code_location_says_it_once_however_often_it_is_loaded(file: Path) -> None:
    code = (
        "from elspeth_dagster import build_definitions, load_pipeline\n"
        f"for _ in range(3): build_definitions(load_pipeline({str(file)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("each make a field 'x'") == 1
    assert f"{file}:" in done.stderr


def test_dg_check_defs_shows_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    build_definitions(load_pipeline(file))
    (told,) = caplog.messages
    assert told.startswith(f"{file}:24: 'joined': branches 'a' and 'b' each make a field 'x'")


def test_who_has_told_them_is_not_told_again(file: Path) -> None:
    with told_already():
        build_definitions(load_pipeline(file))
