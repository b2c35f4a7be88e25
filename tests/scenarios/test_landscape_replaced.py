"""A Landscape that is deleted or replaced while a run writes to it stops the run: nothing is written into the void."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import LandscapeUnavailableError
from elspeth_dagster.landscape.database import Database
from tests.noderuns import NodeRuns, node_runs, sink, source_of
from tests.support import Project, write_csv

ROWS = 3_000
AT = 1_500

SPOIL = f"""
from pathlib import Path
import spoiling

def spoil(row):
    folder = Path(__file__).parent
    if row["id"] == {AT} and not (folder / "spared").exists():
        spoiling.now(folder)
    return row
"""
SPOILING = {
    "deleted": "def now(folder):\n    for path in folder.glob('landscape.db*'):\n        path.unlink()\n",
    "moved": "def now(folder):\n    (folder / 'landscape.db').rename(folder / 'aside.db')\n",
    "replaced": (
        "def now(folder):\n    (folder / 'landscape.db').rename(folder / 'aside.db')\n"
        "    (folder / 'before.db').rename(folder / 'landscape.db')\n"
    ),
}


def _project(folder: Path, how: str) -> Project:
    write_csv(folder / "in.csv", ["id"], [[index] for index in range(ROWS)])
    (folder / "rules.py").write_text(SPOIL)
    (folder / "spoiling.py").write_text(SPOILING[how])
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    project.declare(_declaration())
    return project


def _declaration() -> dict[str, Any]:
    return {
        "name": "spoiled",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
        "steps": {"spoil": {"kind": "python", "from": "source", "call": "rules:spoil"}},
        "sinks": {"out": {"kind": "csv", "from": "spoil", "path": "out.csv"}},
    }


@pytest.mark.parametrize("how", SPOILING)
def test_the_run_fails_and_says_why(tmp_path: Path, how: str) -> None:
    project = _project(tmp_path, how)
    with closing(sqlite3.connect(tmp_path / "before.db")) as older:
        older.execute("CREATE TABLE something (else_ TEXT)")
    before = (tmp_path / "before.db").read_bytes()

    result = project.run()

    assert not result.success
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    said = (failure.user_failure_data.description or "").splitlines()
    assert said[0].startswith(
        f"The Landscape is {'another file now' if how == 'replaced' else 'gone'}: it was "
    )
    assert [line.split(":")[0].strip() for line in said[1:]] == ["where", "next"]
    assert not (tmp_path / "out.csv").exists(), "nothing went on"
    if how == "replaced":
        assert (tmp_path / "landscape.db").read_bytes() == before, "what is another's was left as it was"
    else:
        assert not (tmp_path / "landscape.db").exists(), "no empty file was put in its place"


def test_a_file_that_was_put_back_is_gone_on_with(tmp_path: Path) -> None:
    project = _project(tmp_path, "moved")
    first = project.run()
    assert not first.success
    (tmp_path / "aside.db").rename(tmp_path / "landscape.db")
    (tmp_path / "spared").touch()

    assert project.run(resume=first.run_id).success

    assert [row["id"] for row in project.csv("out.csv")] == [str(index) for index in range(ROWS)]


# Between two steps, each of which opens the Landscape for itself ------------------------------------------------------


def _two_nodes(folder: Path) -> dict[str, Any]:
    return {
        "name": "between",
        "source": source_of(folder, [{"id": index} for index in range(3)], {"id": "int"}),
        "steps": {"one": {"kind": "map", "from": "source", "set": {"x": "row.id"}}},
        "sinks": {"out": sink("one", name="out")},
    }


def test_a_step_that_finds_nothing_of_the_steps_before_it_does_not_begin(tmp_path: Path) -> None:
    with node_runs(tmp_path, _two_nodes(tmp_path)) as runs:
        runs.run("source", "one")
        another = Database(f"sqlite:///{tmp_path / 'another.db'}")
        another.ensure_schema()
        try:
            with pytest.raises(LandscapeUnavailableError, match="does not have what 'one' recorded"):
                NodeRuns(runs.pipeline, another).run("out")
            with another.read() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0
        finally:
            another.dispose()
        assert not (tmp_path / "out.jsonl").exists()
        runs.run("out")
        assert len(runs.rows("out")) == 3


def test_an_older_state_that_was_restored_into_the_same_file_is_noticed(tmp_path: Path) -> None:
    with node_runs(tmp_path, _two_nodes(tmp_path)) as runs:
        with (
            closing(sqlite3.connect(tmp_path / "landscape.db")) as now,
            closing(sqlite3.connect(tmp_path / "older.db")) as older,
        ):
            now.backup(older)
        runs.run("source")
        with (
            closing(sqlite3.connect(tmp_path / "landscape.db")) as now,
            closing(sqlite3.connect(tmp_path / "older.db")) as older,
        ):
            older.backup(now)
        with pytest.raises(LandscapeUnavailableError, match="'source' recorded: it was deleted, replaced or"):
            runs.run("one")
