"""A source that is an asset with partitions: each partition of the pipeline reads what belongs to it, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from elspeth_dagster import LandscapeResource, build_definitions
from elspeth_dagster.pipeline.load import pipeline_from
from tests.support import QUIET

LETTERS = dg.StaticPartitionsDefinition(["a", "b"])
HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")


class Warehouse(dg.IOManager):
    """Has a table of three rows for each partition, and gives several as Dagster's own IO managers do."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise NotImplementedError

    def load_input(self, context: dg.InputContext) -> Any:
        if not context.has_asset_partitions:
            return self.table("all")
        keys = list(context.asset_partition_keys)
        tables = {key: self.table(key) for key in keys}
        return tables if len(keys) > 1 else tables[keys[0]]

    def table(self, key: str) -> pd.DataFrame:
        return pd.DataFrame({"id": [0, 1, 2], "of": [key] * 3})


def run(
    folder: Path,
    upstream: dg.PartitionsDefinition[str] | None,
    partitions: Any,
    keys: Sequence[str | None],
    tags: dict[str, str] | None = None,
) -> list[dg.ExecuteInProcessResult]:
    name = "{partition}" if partitions else "all"
    declared = {
        "name": "copy",
        "source": {"kind": "asset", "asset": ["messages"], "columns": {"id": "int", "of": "str"}},
        "sinks": {"out": {"kind": "csv", "from": "source", "path": f"out/{name}.csv"}},
        "partitions": partitions,
    }
    landscape = LandscapeResource(url=f"sqlite:///{folder / 'landscape.db'}")
    defs = dg.Definitions.merge(
        build_definitions(pipeline_from(declared, base=folder), landscape=landscape),
        dg.Definitions(
            assets=[dg.AssetSpec("messages", partitions_def=upstream)],
            resources={"io_manager": dg.IOManagerDefinition.hardcoded_io_manager(Warehouse())},
        ),
    )
    job = defs.resolve_job_def("copy")
    with dg.DagsterInstance.ephemeral() as instance:
        return [
            job.execute_in_process(
                instance=instance, partition_key=key, run_config=QUIET, raise_on_error=False, tags=tags or {}
            )
            for key in keys
        ]


def rows(folder: Path, name: str) -> list[str]:
    return (folder / "out" / f"{name}.csv").read_text().split()[1:]


def all_in_one_run(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_a_partition_reads_the_assets_partition_of_its_key(tmp_path: Path) -> None:
    assert all(one.success for one in run(tmp_path, LETTERS, {"static": ["a", "b"]}, ["a", "b"]))
    assert rows(tmp_path, "a") == ["0,a", "1,a", "2,a"]
    assert rows(tmp_path, "b") == ["0,b", "1,b", "2,b"]


def test_so_it_does_where_one_run_has_several(tmp_path: Path) -> None:
    both = {"static": ["a", "b"], "backfill": "single_run"}
    (result,) = run(tmp_path, LETTERS, both, [None], all_in_one_run("a", "b"))
    assert result.success
    assert rows(tmp_path, "a") == ["0,a", "1,a", "2,a"]
    assert rows(tmp_path, "b") == ["0,b", "1,b", "2,b"]


def test_a_pipeline_without_partitions_reads_all_of_the_assets(tmp_path: Path) -> None:
    (result,) = run(tmp_path, LETTERS, None, [None])
    assert result.success
    assert rows(tmp_path, "all") == ["0,a", "1,a", "2,a", "0,b", "1,b", "2,b"]


def test_a_day_reads_all_of_its_hours(tmp_path: Path) -> None:
    (result,) = run(tmp_path, HOURS, {"daily": {"start": "2026-01-01"}}, ["2026-01-02"])
    assert result.success
    assert len(rows(tmp_path, "2026-01-02")) == 24 * 3
    assert rows(tmp_path, "2026-01-02")[3] == "0,2026-01-02-01:00"


def test_days_of_one_run_whose_hours_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    days = {"daily": {"start": "2026-01-01"}, "backfill": "single_run"}
    (result,) = run(tmp_path, HOURS, days, [None], all_in_one_run("2026-01-01", "2026-01-02"))
    assert not result.success
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    assert "Which partitions of the asset belong to partition '2026-01-01' is not known" in str(
        failed.step_failure_data.error
    )
    assert "write `backfill: multi_run`" in str(failed.step_failure_data.error)


@pytest.mark.parametrize("backfill", ["multi_run", "single_run"])
def test_each_shard_takes_its_rows_of_the_whole_table(tmp_path: Path, backfill: str) -> None:
    shards = {"shards": 2, "backfill": backfill}
    tags = all_in_one_run("0-of-2", "1-of-2") if backfill == "single_run" else None
    keys = [None] if backfill == "single_run" else ["0-of-2", "1-of-2"]
    assert all(one.success for one in run(tmp_path, None, shards, keys, tags))
    assert rows(tmp_path, "0-of-2") == ["0,all", "2,all"]
    assert rows(tmp_path, "1-of-2") == ["1,all"]
