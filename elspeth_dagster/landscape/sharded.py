"""Which of its source's records a run took: all, or those of its shard."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy import Connection

from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.schema import runs
from elspeth_dagster.model.shard import WHOLE, Shard, shard_of_key


def shard_of_run(connection: Connection, run: RunRecord) -> Shard:
    """The shard of a run, by its declaration: a partition that is only named like one is none."""
    if run.partition_key is None:
        return WHOLE
    spec_json = connection.execute(
        sa.select(runs.c.spec_json).where(runs.c.run_id == run.run_id)
    ).scalar_one()
    partitions = json.loads(spec_json).get("partitions")
    is_sharded = isinstance(partitions, dict) and partitions.get("shards") is not None
    return (shard_of_key(run.partition_key) or WHOLE) if is_sharded else WHOLE
