"""Killed at any commit to the Landscape, in any kind of node: a resume gives the same files, and nothing is paid twice.

The process kills itself with SIGKILL right behind its n-th commit (whatever is then in flight is lost with it), or
before or behind the renaming of a sink's file.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth_dagster.cli.main import main
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project, model_at

ROWS, POOL = 60, 4

PIPELINE = """\
name: everything
source: {kind: jsonl, path: in.jsonl, columns: {id: int, text: str, tags: json}, on_invalid: bad}
steps:
  doubled: {kind: python, from: source, call: "own_steps:doubled", on_error: failures}
  views: {kind: fork, from: doubled, branches: [asked, counted]}
  mood: {kind: llm, from: views.asked, prompt: "Hm. {{ row.text }}", on_error: failures,
         answer: {mood: {enum: [calm, angry]}}}
  next: {kind: map, from: views.counted, set: {next: row.id + 1}}
  joined: {kind: coalesce, from: {asked: mood, counted: next}, on_error: failures}
  kinds: {kind: gate, from: joined, routes: {angry: row.mood == 'angry', third: row.id % 3 == 0}, otherwise: rest}
  tags: {kind: expand, from: kinds.angry, field: tags}
  asked: {kind: aggregate, from: kinds.third, trigger: {count: 3},
          run: {kind: llm, prompt: "{{ rows[0].text }} and more", answer: {all: {enum: [good, bad]}}}}
  tens: {kind: aggregate, from: kinds.rest, trigger: {count: 5}, output_mode: passthrough,
         run: {kind: python, call: "own_steps:with_size"}}
sinks:
  out_tags: {kind: csv, from: tags, path: out/tags.csv}
  out_asked: {kind: jsonl, from: asked, path: out/asked.jsonl}
  out_tens: {kind: jsonl, from: tens, path: out/tens.jsonl}
  failures: {kind: jsonl, path: out/failures.jsonl}
  bad: {kind: jsonl, path: out/bad.jsonl}
"""

STEPS = """\
def doubled(row):
    if row["id"] % 20 == 7:
        raise ValueError("no")
    return {**row, "twice": row["id"] * 2}

def with_size(frame):
    return frame.assign(size=len(frame))
"""

DYING = """\
import os, signal
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.files.atomic import AtomicFile
commits = 0
commit, finish = LandscapeWriter._commit_once, AtomicFile.commit
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def committed(*given):
    global commits
    commit(*given)
    commits += 1
    if commits == {behind_commit}:
        die()
def finished(file):
    wanted = file.path.name == "tens.jsonl"
    if wanted and {before_rename}: die()
    finish(file)
    if wanted and {behind_rename}: die()
LandscapeWriter._commit_once, AtomicFile.commit = committed, finished
project.run()
"""


def _project(folder: Path, server: FakeModelServer) -> Project:
    (folder / "own_steps.py").write_text(STEPS)
    with (folder / "in.jsonl").open("w") as file:
        for number in range(ROWS):
            row = {"id": number, "text": f"message {number}.", "tags": [f"t{number % 5}", f"u{number % 3}"]}
            file.write(json.dumps(row) + "\n" if number % 29 else "no JSON\n")
    declaration: dict[str, Any] = yaml.safe_load(PIPELINE)
    declaration["models"] = {"default": model_at(server.base_url)}
    for asking in (declaration["steps"]["mood"], declaration["steps"]["asked"]["run"]):
        asking["pool"] = {"pool_size": POOL}
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    project.declare(declaration)
    return project


def _files(folder: Path) -> dict[str, list[Any]]:
    """What the sinks wrote, without what names this very run."""
    found: dict[str, list[Any]] = {}
    for path in sorted((folder / "out").iterdir()):
        lines = path.read_text("utf-8").splitlines()
        found[path.name] = [json.loads(line) for line in lines] if path.suffix == ".jsonl" else list(lines)
        for row in found[path.name]:
            if isinstance(row, dict) and "_error" in row:
                del row["_error"]["token_id"]
    return found


def _killed(
    folder: Path, server: FakeModelServer, *, commit: int = 0, rename: str = ""
) -> tuple[Project, bool]:
    """The project, and whether the process was killed: it ends by itself where there are fewer commits."""
    project = _project(folder, server)
    code = DYING.format(
        behind_commit=commit, before_rename=rename == "before", behind_rename=rename == "behind"
    )
    process = project.spawn(code)
    process.wait(timeout=100)
    assert process.returncode in {0, -signal.SIGKILL}
    return project, process.returncode != 0


def _finished(project: Project) -> str:
    """The run's id, after as many resumes as it takes: one."""
    with project.instance() as instance:
        (run,) = instance.get_runs()
        instance.report_run_failed(run)
    project.run(resume=run.run_id)
    return run.run_id


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What a run that nobody kills writes."""
    folder = tmp_path_factory.mktemp("whole")
    with FakeModelServer() as server:
        project = _project(folder, server)
        assert project.run().success
    files = _files(folder)
    assert all(files.values())
    return files


def _assert_whole(
    project: Project, server: FakeModelServer, expected: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = _finished(project)
    assert _files(project.folder) == expected
    assert server.stats().repeated <= POOL
    unknown = project.query("SELECT count(*) FROM calls WHERE status = 'unknown'")[0][0]
    assert server.stats().repeated <= unknown
    assert [path.name for path in (project.folder / "out").iterdir() if path.name.startswith(".")] == []
    monkeypatch.setenv("DAGSTER_HOME", str(project.dagster_home))
    assert main(["verify", run_id, "--landscape", project.landscape_url]) == 0


@pytest.mark.parametrize("commit", [pytest.param(2, marks=pytest.mark.long), 9])
def test_killed_behind_a_commit_it_goes_on_and_ends_the_same(
    tmp_path: Path, expected: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch, commit: int
) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=5)) as server:
        project, was_killed = _killed(tmp_path, server, commit=commit)
        assert was_killed
        _assert_whole(project, server, expected, monkeypatch)


@pytest.mark.parametrize("rename", ["before", pytest.param("behind", marks=pytest.mark.long)])
def test_killed_about_the_renaming_of_a_sinks_file(
    tmp_path: Path, expected: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch, rename: str
) -> None:
    with FakeModelServer() as server:
        project, was_killed = _killed(tmp_path, server, rename=rename)
        assert was_killed
        _assert_whole(project, server, expected, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_behind_every_commit(
    tmp_path: Path, expected: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    was_killed, commit = True, 0
    while was_killed:
        commit += 1
        folder = tmp_path / str(commit)
        folder.mkdir()
        with FakeModelServer(FakeModelSettings(latency_ms=5)) as server:
            project, was_killed = _killed(folder, server, commit=commit)
            if was_killed:
                _assert_whole(project, server, expected, monkeypatch)
    assert commit > 20
