"""How far a run is, for progress bars: read from the operational tables, which prove nothing."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import leases, node_executions, progress
from elspeth_dagster.model.outcome import ExecutionStatus


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """A node's latest execution; ``rows_total`` is None where it cannot be known, as of a source."""

    node_id: str
    status: ExecutionStatus
    rows_done: int
    rows_failed: int
    rows_total: int | None
    started_at: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a pipeline, and when it was last heard of."""

    run_id: str
    dagster_run_id: str
    heartbeat_at: str


def holder_of(database: Database, pipeline: str, *, partition_key: str | None = None) -> Holder | None:
    """The run that worked on a pipeline last; it may have ended."""
    question = sa.select(leases.c.run_id, leases.c.dagster_run_id, leases.c.heartbeat_at).where(
        leases.c.pipeline == pipeline, leases.c.partition_key == (partition_key or "")
    )
    with database.read() as connection:
        found = connection.execute(question).first()
    return None if found is None else Holder(*found)


def progress_of(database: Database, run_id: str) -> dict[str, NodeProgress]:
    """The nodes that have been begun, by id."""
    question = (
        sa.select(
            progress.c.node_id,
            node_executions.c.status,
            progress.c.rows_done,
            progress.c.rows_failed,
            progress.c.rows_total,
            node_executions.c.started_at,
        )
        .join(node_executions, node_executions.c.execution_id == progress.c.execution_id)
        .where(progress.c.run_id == run_id)
    )
    with database.read() as connection:
        return {
            node_id: NodeProgress(node_id, ExecutionStatus(status), done, failed, total, started_at)
            for node_id, status, done, failed, total, started_at in connection.execute(question)
        }
