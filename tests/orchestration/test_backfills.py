"""Backfills by Dagster's own machinery: the daemon's iterations, over a workspace, until Dagster calls them done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from tests.support import Project, write_csv

ROWS = 41
NAME = "parted"
ITERATIONS_MAX = 20
LAUNCHER = {
    "module": "dagster._core.launcher.sync_in_memory_run_launcher",
    "class": "SyncInMemoryRunLauncher",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings(
        "ignore:Function `AssetSelection.sources` is deprecated"
    ),  # by Dagster's own daemon
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id"], [[number] for number in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Runs are queued; each is executed as it is launched, in this process."""
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"run_launcher": LAUNCHER}) as made:
        yield made


def _location(project: Project, partitions: object) -> Path:
    """A code location with the pipeline, as a file that Dagster loads."""
    project.declare(
        {
            "name": NAME,
            "partitions": partitions,
            "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
            "sinks": {"out": {"kind": "csv", "from": "source", "path": "out/{partition}.csv"}},
        }
    )
    file = project.folder / "location.py"
    file.write_text(
        "from pathlib import Path\n"
        "from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline\n"
        f"pipeline = load_pipeline(Path({str(project.declaration)!r}))\n"
        f"defs = build_definitions(pipeline, landscape=LandscapeResource(url={project.landscape_url!r}))\n"
    )
    return file


def _backfilled(instance: dg.DagsterInstance, location: Path, keys: Sequence[str]) -> BulkActionStatus:
    """Ask for these partitions of all assets, as the UI does; iterate as the daemon does."""
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(location)), location_name="here"
    )
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
        graph = workspace.create_request_context().asset_graph
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="filled",
            asset_graph=graph,
            partition_names=list(keys),
            asset_selection=list(graph.executable_asset_keys),
            backfill_timestamp=SystemClock().now().timestamp(),
            tags={"user": "mara"},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        for _ in range(ITERATIONS_MAX):
            errors = [*execute_backfill_iteration(workspace, logging.getLogger(__name__))]
            assert [error for error in errors if error is not None] == []
            found = instance.get_backfill("filled")
            assert found is not None
            for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
                instance.launch_run(run.run_id, workspace.create_request_context())
            if found.status is not BulkActionStatus.REQUESTED:
                return found.status
    return BulkActionStatus.REQUESTED


def _findings(project: Project) -> dict[str | None, list[str]]:
    found = {}
    database = Database(project.landscape_url)
    for run_id, key in project.query("SELECT run_id, partition_key FROM runs"):
        report = verify_run(database, find_run(database, run_id), now=SystemClock().now())
        found[key] = [finding.what for check in report.checks for finding in check.findings]
    database.dispose()
    return found


DAYS = ["2026-01-01", "2026-01-02", "2026-01-04"]
SHARDS = ["0-of-3", "1-of-3", "2-of-3"]


CASES: list[tuple[Any, list[str], int]] = [
    ({"daily": {"start": "2026-01-01"}}, DAYS, 3),
    ({"shards": 3, "backfill": "single_run"}, SHARDS, 1),
    ({"daily": {"start": "2026-01-01"}, "backfill": "single_run"}, DAYS, 2),
    ({"static": ["a", "b", "c"]}, ["a", "c"], 2),
    ({"static": ["a", "b", "c"], "backfill": "single_run"}, ["a", "b"], 1),
    ({"shards": 3}, SHARDS, 3),
    ("dynamic", ["may", "june"], 2),
    ({"dynamic": True, "backfill": "single_run"}, ["may", "june"], 1),
]
QUICK = 2


@pytest.mark.parametrize(
    ("partitions", "keys", "runs"),
    [*CASES[:QUICK], *(pytest.param(*case, marks=pytest.mark.long) for case in CASES[QUICK:])],
)
def test_a_backfill_is_a_landscape_run_a_partition_in_as_many_dagster_runs_as_declared(
    project: Project, instance: dg.DagsterInstance, partitions: Any, keys: list[str], runs: int
) -> None:
    instance.add_dynamic_partitions(NAME, ["may", "june", "july"])

    assert _backfilled(instance, _location(project, partitions), keys) is BulkActionStatus.COMPLETED_SUCCESS

    launched = instance.get_runs(filters=dg.RunsFilter(tags={"dagster/backfill": "filled"}))
    assert len(launched) == runs
    assert {run.status for run in launched} == {dg.DagsterRunStatus.SUCCESS}
    assert _findings(project) == {key: [] for key in keys}
    read = {key: [int(row["id"]) for row in project.csv(f"out/{key}.csv")] for key in keys}
    if "shards" in partitions:
        assert sorted(number for part in read.values() for number in part) == list(range(ROWS))
    else:
        assert read == {key: list(range(ROWS)) for key in keys}
    for asset in ("source", "out"):
        assert instance.get_materialized_partitions(dg.AssetKey([NAME, asset])) == set(keys)
    assert {by for (by,) in project.query("SELECT launched_by FROM runs")} == {"user: mara"}
