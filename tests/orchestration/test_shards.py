"""Four shards in processes of their own, all at once, give the rows of one run, in its order, each run verified."""

from __future__ import annotations

import heapq
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.pipeline.partition_spec import Partitions
from elspeth_dagster.pipeline.partitions import shards
from tests.postgres import Postgres
from tests.support import Project, write_csv

ROWS = 403
BAD = 8
KEYS = [shard.key for shard in shards(Partitions(shards=4))]


def _declaration(name: str, place: str, **head: Any) -> dict[str, Any]:
    return {
        "name": name,
        **head,
        "source": {
            "kind": "csv",
            "path": "in.csv",
            "columns": {"id": "int", "amount": "int"},
            "on_invalid": "bad",
        },
        "steps": {
            "triage": {
                "kind": "gate",
                "from": "source",
                "routes": {"large": "row.amount > 50"},
                "otherwise": "small",
            },
        },
        "sinks": {
            "large": {"kind": "csv", "from": "triage.large", "path": f"{place}/large.csv"},
            "small": {"kind": "jsonl", "from": "triage.small", "path": f"{place}/small.jsonl"},
            "bad": {"kind": "jsonl", "path": f"{place}/bad.jsonl"},
        },
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    rows = [[number, "none" if number % 50 == 7 else number * 37 % 101] for number in range(ROWS)]
    write_csv(tmp_path / "in.csv", ["id", "amount"], rows)
    if request.param == "sqlite":
        yield Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.ready()
    yield Project(tmp_path, url)
    server.take_back(url)


def _run(project: Project, key: str) -> bool:
    """A partition's run; called in a process of its own."""
    return project.run(partition=key).success


def _findings(project: Project) -> dict[tuple[str, str | None], list[str]]:
    """What `verify` has to say of each run, by pipeline and partition."""
    found = {}
    database = Database(project.landscape_url)
    try:
        for run_id, pipeline, key in project.query("SELECT run_id, pipeline, partition_key FROM runs"):
            report = verify_run(database, find_run(database, run_id), now=SystemClock().now())
            found[pipeline, key] = [finding.what for check in report.checks for finding in check.findings]
    finally:
        database.dispose()
    return found


@pytest.mark.long
def test_four_shards_at_once_give_the_rows_of_one_run_in_its_order(project: Project) -> None:
    project.declare(_declaration("whole", "whole"))
    assert project.run().success
    project.declare(_declaration("parted", "parted/{partition}", partitions={"shards": 4}))
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["elspeth_dagster.orchestration.step", "tests.support"])
    with ProcessPoolExecutor(len(KEYS), mp_context=forked) as processes:
        assert all(processes.map(partial(_run, project), KEYS))

    runs: list[tuple[str, str | None]] = [("whole", None), *(("parted", key) for key in KEYS)]
    assert _findings(project) == {run: [] for run in runs}

    small = [project.jsonl(f"parted/{key}/small.jsonl") for key in KEYS]
    large = [project.csv(f"parted/{key}/large.csv") for key in KEYS]
    bad = [project.jsonl(f"parted/{key}/bad.jsonl") for key in KEYS]
    for part in (*small, *large):
        assert part
        assert _numbers(part) == sorted(_numbers(part))
    assert _merged(small) == project.jsonl("whole/small.jsonl")
    assert _merged(large) == project.csv("whole/large.csv")
    assert sum(map(len, bad)) == len(project.jsonl("whole/bad.jsonl")) == BAD
    assert _rows(project, "parted") == _rows(project, "whole")


def _numbers(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    return [int(row["id"]) for row in rows]


def _merged(parts: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of all shards in the source's order: its ids are its line numbers."""
    return list(heapq.merge(*parts, key=lambda row: int(row["id"])))


def _rows(project: Project, pipeline: str) -> list[tuple[Any, ...]]:
    """What the Landscape knows of each row: its number, by which port it left the source, how it ended."""
    return project.query(
        "SELECT row_index, out_port, outcome FROM rows JOIN runs USING (run_id) "
        "JOIN token_outcomes ON token_outcomes.token_id = rows.row_id AND is_terminal "
        "WHERE pipeline = :pipeline ORDER BY row_index",
        pipeline=pipeline,
    )
