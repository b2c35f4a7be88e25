"""The bars show what the Landscape says, and only on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from elspeth_dagster.cli.progress import Bars, progress_bars
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.pipeline import load_pipeline
from tests.cli.conftest import DECLARATION, ROWS, Finished


def _drawn(bars: Bars) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(bars.render())
    return stream.getvalue()


def test_each_node_has_a_line_with_its_rows(finished: Finished) -> None:
    pipeline = load_pipeline(finished.project.folder / DECLARATION)
    database = Database(finished.project.landscape_url)
    try:
        drawn = _drawn(Bars(pipeline, database, finished.document["run"]["run_id"]))
    finally:
        database.dispose()
    lines = {line.split()[1]: line.split() for line in drawn.splitlines()}
    assert list(lines) == list(pipeline.nodes)
    assert all(line[0] == "✓" for line in lines.values())
    assert str(ROWS) in lines["source"]
    assert lines["judge"][-2:] == ["1", "failed"]


def test_an_earlier_run_of_the_pipeline_is_not_taken_for_this_one(finished: Finished) -> None:
    pipeline = load_pipeline(finished.project.folder / DECLARATION)
    database = Database(finished.project.landscape_url)
    try:
        drawn = _drawn(Bars(pipeline, database, None))
    finally:
        database.dispose()
    assert "✓" not in drawn


def test_without_a_terminal_nothing_is_drawn(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = load_pipeline(finished.project.folder / DECLARATION)
    stream = io.StringIO()
    with progress_bars(pipeline, finished.project.landscape_url, screen=stream, run_id=None):
        pass
    assert stream.getvalue() == ""
    assert capsys.readouterr().out == ""
