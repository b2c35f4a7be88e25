"""Tell the database that an execution is alive, and how far it is. Operational: it proves nothing."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.schema import fences, leases, progress
from elspeth_dagster.model.clock import Clock, timestamp

PROGRESS_S: Final = 0.5  # often enough for a progress bar, seldom enough to cost nothing
HEARTBEAT_S: Final = 5.0  # far below the 90 s after which another execution may take over
STALE_S: Final = 90.0  # a process that was silent for so long is taken for dead


def is_due(execution: ExecutionHandle, clock: Clock) -> bool:
    """Whether the last word is old enough for another."""
    return clock.monotonic() - execution.progress_told_s >= PROGRESS_S


def beat(connection: Connection, execution: ExecutionHandle, clock: Clock) -> None:
    """Refresh the progress and, more seldom, the lease's and the fence's heartbeat."""
    now_s, stamp = clock.monotonic(), timestamp(clock.now())
    connection.execute(
        sa.update(progress)
        .where(progress.c.run_id == execution.run_id, progress.c.node_id == execution.node_id)
        .values(
            rows_done=execution.rows_done,
            rows_failed=execution.rows_failed,
            rows_total=execution.rows_total,
            updated_at=stamp,
        )
    )
    execution.progress_told_s = now_s
    if execution.on_beat is not None:
        execution.on_beat(connection)
    if now_s - execution.heartbeat_told_s < HEARTBEAT_S:
        return
    connection.execute(
        sa.update(leases)
        .where(
            leases.c.pipeline == execution.pipeline,
            leases.c.partition_key == (execution.partition_key or ""),
            leases.c.run_id == execution.run_id,
        )
        .values(heartbeat_at=stamp)
    )
    connection.execute(
        sa.update(fences)
        .where(fences.c.run_id == execution.run_id, fences.c.node_id == execution.node_id)
        .values(heartbeat_at=stamp)
    )
    execution.heartbeat_told_s = now_s
