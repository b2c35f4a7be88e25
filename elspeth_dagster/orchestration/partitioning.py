"""A pipeline's partitions in Dagster: each is one run in the Landscape, whatever launched it."""

from typing import Any

import dagster as dg

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.pipeline import Pipeline
from elspeth_dagster.pipeline.partitions import shards


def partitions_def(pipeline: Pipeline) -> dg.PartitionsDefinition[Any] | None:
    """How the pipeline's assets are partitioned; None where they are not."""
    division = pipeline.head.division
    if division is None:
        return None
    if division.daily is not None:
        return dg.DailyPartitionsDefinition(
            start_date=division.daily.start.isoformat(), timezone=division.daily.timezone
        )
    if division.static is not None:
        return dg.StaticPartitionsDefinition(division.static)
    if division.shards is not None:
        return dg.StaticPartitionsDefinition([shard.key for shard in shards(division)])
    return dg.DynamicPartitionsDefinition(name=pipeline.name)


def backfill_policy(pipeline: Pipeline) -> dg.BackfillPolicy | None:
    """Whether a backfill is one run for all partitions, or one for each."""
    division = pipeline.head.division
    if division is None:
        return None
    if division.backfill == "single_run":
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=1)


def refuse_partition(instance: dg.DagsterInstance, pipeline: Pipeline, key: str | None) -> None:
    """Check that ``key`` is a partition of the pipeline; none where it has none.

    Raises:
        LaunchError: it is not, or is missing.
    """
    found = partitions_def(pipeline)
    if found is None:
        if key is not None:
            raise LaunchError(
                f"Pipeline {pipeline.name!r} has no partitions.", hint="run it without --partition"
            )
        return
    keys = found.get_partition_keys(dynamic_partitions_store=instance)
    if key in keys:
        return
    shown = ", ".join(keys[:5]) + (f", ... {keys[-1]} ({len(keys)} in all)" if len(keys) > 5 else "")  # noqa: PLR2004
    if key is None:
        what = f"Pipeline {pipeline.name!r} has partitions: name one."
    else:
        what = f"Pipeline {pipeline.name!r} has no partition {key!r}.{suggest(key, keys)}"
    raise LaunchError(what, hint=f"run it with --partition and one of {shown or 'none yet'}")
