"""Joins of many rows: counted exactly, in order, in memory that does not grow with them, on either database."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.runtime import coalesce_run
from tests.joins.injected import CLOCK
from tests.noderuns import NodeRuns, node_runs, sink, source_of
from tests.postgres import Postgres


def two_branches(folder: Path, rows: int, **join: Any) -> dict[str, Any]:
    found = [{"id": index, "text": "x" * 100} for index in range(rows)]
    return {
        "name": "many",
        "source": source_of(folder, found, {"id": "int", "text": "str"}),
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
            "one": {"kind": "map", "from": "split.a", "set": {"x": "row.id"}},
            "two": {"kind": "map", "from": "split.b", "set": {"y": "row.id"}},
            "join": {"kind": "coalesce", "from": {"a": "one", "b": "two"}, **join},
        },
        "sinks": {"out": sink("join", name="out")},
    }


def first_of(run: NodeRuns, rows: int) -> None:
    reports = run.run()
    assert all(report.balance.holds for report in reports.values())
    outcomes = run.query("SELECT outcome, error_code, count(*) FROM token_outcomes GROUP BY 1, 2 ORDER BY 1")
    assert outcomes == [
        ("coalesced", None, rows),
        ("completed", None, rows),
        ("failed", "late_arrival_after_merge", rows),
        ("forked", None, rows),
    ]
    assert [row["id"] for row in run.rows("out")] == list(range(rows))
    assert run.findings() == []


def test_two_thousand_rows_under_first_are_as_many_merged_and_late(tmp_path: Path) -> None:
    with node_runs(tmp_path, two_branches(tmp_path, 2_000, policy="first"), clock=CLOCK) as run:
        first_of(run, 2_000)


@pytest.mark.long
def test_twenty_thousand_rows_under_first_are_as_many_merged_and_late(tmp_path: Path) -> None:
    with node_runs(tmp_path, two_branches(tmp_path, 20_000, policy="first"), clock=CLOCK) as run:
        first_of(run, 20_000)


def test_postgresql_joins_alike(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.ready()
    with node_runs(tmp_path, two_branches(tmp_path, 700, policy="first"), clock=CLOCK, url=url) as run:
        first_of(run, 700)
    postgres.take_back(url)


@pytest.mark.long
def test_a_joins_memory_does_not_grow_with_its_rows(tmp_path: Path) -> None:
    peaks = [_peak_of_join(tmp_path / str(rows), rows) for rows in (2_000, 6_000)]
    assert peaks[1] < peaks[0] * 1.3


def _peak_of_join(folder: Path, rows: int) -> int:
    """Bytes that Python held at most while the join ran."""
    folder.mkdir()
    with node_runs(folder, two_branches(folder, rows), clock=CLOCK) as run:
        run.run("source", "split", "one", "two")
        tracemalloc.start()
        try:
            run.run("join")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_a_page_ends_between_two_groups_wherever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coalesce_run, "PAGE_TOKENS", 3)
    with node_runs(tmp_path, two_branches(tmp_path, 10), clock=CLOCK) as run:
        run.run()
        assert [row["id"] for row in run.rows("out")] == list(range(10))
