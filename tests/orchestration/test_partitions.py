"""Partitions, schedules, watched folders and automation: ticked, and run."""

from __future__ import annotations

import csv
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.orchestration.build import build_definitions
from elspeth_dagster.orchestration.resources import LandscapeResource
from elspeth_dagster.pipeline import Pipeline, pipeline_from
from tests.support import QUIET, write_csv

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

ROWS = 103


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


def _pipeline(folder: Path, **head: Any) -> Pipeline:
    declaration = {
        "name": "parted",
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int"}},
        "sinks": {"out": {"kind": "csv", "from": "source", "path": "out/{partition}.csv"}},
        **head,
    }
    return pipeline_from(declaration, base=folder)


def _definitions(pipeline: Pipeline, folder: Path) -> dg.Definitions:
    return build_definitions(
        pipeline, landscape=LandscapeResource(url=f"sqlite:///{folder / 'landscape.db'}")
    )


def _run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, **options: Any
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def("parted")
    return job.execute_in_process(instance=instance, run_config=QUIET, **options)


def _ids(file: Path) -> list[int]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [int(row["id"]) for row in csv.DictReader(opened)]


def _rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    database = Database(f"sqlite:///{folder / 'landscape.db'}")
    with database.read() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(sql)]
    database.dispose()
    return found


def _findings(folder: Path) -> dict[str | None, list[str]]:
    """What `verify` has to say of each partition's run."""
    found = {}
    database = Database(f"sqlite:///{folder / 'landscape.db'}")
    for run_id, key in _rows(folder, "SELECT run_id, partition_key FROM runs"):
        report = verify_run(database, find_run(database, run_id), now=SystemClock().now())
        found[key] = [finding.what for check in report.checks for finding in check.findings]
    database.dispose()
    return found


def test_shards_give_the_rows_of_one_run_each_once_with_their_numbers(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    write_csv(tmp_path / "in.csv", ["id"], [[number * 10] for number in range(ROWS)])
    definitions = _definitions(_pipeline(tmp_path, partitions={"shards": 4}), tmp_path)

    for index in range(4):
        assert _run(definitions, instance, partition_key=f"{index}-of-4").success

    read = [_ids(tmp_path / "out" / f"{index}-of-4.csv") for index in range(4)]
    assert [len(part) for part in read] == [26, 26, 26, 25]
    assert sorted(number for part in read for number in part) == [number * 10 for number in range(ROWS)]
    assert [part for part in read if part != sorted(part)] == []
    numbers = _rows(tmp_path, "SELECT row_index FROM rows ORDER BY row_index")
    assert [number for (number,) in numbers] == list(range(ROWS))
    assert _findings(tmp_path) == {f"{index}-of-4": [] for index in range(4)}


def test_a_single_run_backfill_is_one_landscape_run_a_partition(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    write_csv(tmp_path / "in.csv", ["id"], [[number] for number in range(ROWS)])
    division = {"static": ["a", "b", "c"], "backfill": "single_run"}
    definitions = _definitions(_pipeline(tmp_path, partitions=division), tmp_path)
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}

    result = _run(definitions, instance, tags=tags)

    assert result.success
    assert [len(_ids(tmp_path / "out" / f"{key}.csv")) for key in "abc"] == [ROWS] * 3
    runs = _rows(tmp_path, "SELECT run_id, partition_key FROM runs ORDER BY partition_key")
    assert runs == [(f"{result.run_id}/{key}", key) for key in "abc"]
    events = instance.fetch_materializations(dg.AssetKey(["parted", "out"]), limit=10).records
    materialized = [record.asset_materialization for record in events]
    assert sorted(str(one.partition) for one in materialized if one is not None) == ["a", "b", "c"]
    assert {one.metadata["dagster/row_count"].value for one in materialized if one is not None} == {ROWS}


def _watching(folder: Path) -> dg.Definitions:
    pipeline = _pipeline(
        folder,
        source={"kind": "csv", "path": "inbox/{partition}.csv", "columns": {"id": "int"}},
        watch="inbox/*.csv",
    )
    return _definitions(pipeline, folder)


def _arrive(folder: Path, name: str, *, age_s: float = 60) -> None:
    write_csv(folder / "inbox" / name, ["id"], [[1], [2]])
    then = time.time() - age_s
    os.utime(folder / "inbox" / name, (then, then))


def _tick(definitions: dg.Definitions, instance: dg.DagsterInstance) -> list[str]:
    """Evaluate the sensor as the daemon does; returns the partitions that it wants to run."""
    repository = definitions.get_repository_def()
    context = dg.SensorEvaluationContext(instance.get_ref(), instance=instance, repository_def=repository)
    outcome = repository.get_sensor_def("parted_watch").evaluate_tick(context)
    for request in outcome.dynamic_partitions_requests or ():
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return [str(request.partition_key) for request in outcome.run_requests or ()]


def test_each_new_file_is_taken_once_also_after_a_restart(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = _watching(tmp_path)
    _arrive(tmp_path, "may first.csv")
    _arrive(tmp_path, "june.csv")
    _arrive(tmp_path, "being_written.csv", age_s=0)
    _arrive(tmp_path, ".hidden.csv")

    assert _tick(definitions, instance) == ["june", "may first"]
    restarted = _watching(tmp_path)
    assert _tick(restarted, instance) == []
    _arrive(tmp_path, "being_written.csv")
    assert _tick(restarted, instance) == ["being_written"]

    assert _run(definitions, instance, partition_key="may first").success
    assert _ids(tmp_path / "out" / "may%20first.csv") == [1, 2]


def test_a_file_whose_name_can_be_no_key_holds_up_no_other(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = _watching(tmp_path)
    for name in (
        "good",
        "new\nline",
        "a|b",
        "not utf-8 \udcff",
        "tab\t",
        "é" * 100,
        "50%, *, {partition} and 😀",
    ):
        _arrive(tmp_path, f"{name}.csv")
    (tmp_path / "inbox" / "nowhere.csv").symlink_to(tmp_path / "gone.csv")

    assert _tick(definitions, instance) == ["50%, *, {partition} and 😀", "good"]

    assert _run(definitions, instance, partition_key="50%, *, {partition} and 😀").success


def test_no_more_files_are_taken_at_once_than_a_tick_may(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = _watching(tmp_path)
    for number in range(60):
        _arrive(tmp_path, f"{number:02d}.csv")

    assert [len(_tick(definitions, instance)) for _ in range(3)] == [50, 10, 0]


def test_a_schedule_runs_the_latest_whole_day(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    pipeline = _pipeline(tmp_path, partitions={"daily": {"start": "2026-01-01"}}, schedule="0 6 * * *")
    repository = _definitions(pipeline, tmp_path).get_repository_def()
    tick = repository.get_schedule_def("parted_schedule")
    moment = dt.datetime(2026, 3, 5, 6, tzinfo=dt.UTC)

    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=moment, repository_def=repository
    )
    (request,) = tick.evaluate_tick(context).run_requests or ()

    assert request.partition_key == "2026-03-04"


def test_a_schedule_without_partitions_launches_the_job(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    sinks = {"out": {"kind": "csv", "from": "source", "path": "out.csv"}}
    pipeline = _pipeline(tmp_path, sinks=sinks, schedule="0 6 * * *")
    tick = _definitions(pipeline, tmp_path).resolve_schedule_def("parted_schedule")

    requests = tick.evaluate_tick(dg.build_schedule_context(instance=instance)).run_requests

    assert [request.partition_key for request in requests or ()] == [None]


SOURCE, OUT = dg.AssetKey(["parted", "source"]), dg.AssetKey(["parted", "out"])
MIDNIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _asked(
    definitions: dg.Definitions, instance: dg.DagsterInstance, between: Callable[[], object]
) -> dict[dg.AssetKey, int]:
    """How many partitions of each asset Dagster wants, after something happened and an hour has passed."""
    before = dg.evaluate_automation_conditions(definitions, instance, evaluation_time=MIDNIGHT)
    between()
    after = dg.evaluate_automation_conditions(
        definitions, instance, cursor=before.cursor, evaluation_time=MIDNIGHT + dt.timedelta(hours=1)
    )
    return {key: after.get_num_requested(key) for key in (SOURCE, OUT)}


def _automated(folder: Path, condition: str, **head: Any) -> dg.Definitions:
    return _definitions(_pipeline(folder, dagster={"automation": condition}, **head), folder)


def test_a_cron_condition_asks_for_all_of_it_at_its_tick(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = _automated(tmp_path, "30 * * * *", partitions={"static": ["a", "b"]})

    assert _asked(definitions, instance, lambda: None) == {SOURCE: 2, OUT: 2}


def test_a_missing_partition_is_asked_for_once_it_is_there(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = _automated(tmp_path, "on_missing", partitions="dynamic")

    asked = _asked(definitions, instance, lambda: instance.add_dynamic_partitions("parted", ["a"]))

    assert asked == {SOURCE: 1, OUT: 1}


def test_eager_follows_what_comes_before(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    definitions = _automated(tmp_path, "eager", partitions={"static": ["a"]})
    source_was_read = dg.AssetMaterialization(SOURCE, partition="a")

    asked = _asked(definitions, instance, lambda: instance.report_runless_asset_event(source_was_read))

    assert asked == {SOURCE: 0, OUT: 1}


def test_a_sink_is_stale_after_the_declared_hours(tmp_path: Path) -> None:
    sinks = {"out": {"kind": "csv", "from": "source", "path": "out.csv"}}
    definitions = _definitions(_pipeline(tmp_path, sinks=sinks, dagster={"freshness": 24}), tmp_path)
    specs = {spec.key.path[-1]: spec for spec in definitions.resolve_all_asset_specs()}

    assert specs["source"].freshness_policy is None
    policy = specs["out"].freshness_policy
    assert policy is not None
    assert policy == dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=24))
