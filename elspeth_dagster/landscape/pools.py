"""What every execution's pool did, as the execution recorded it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.schema import node_executions, nodes
from elspeth_dagster.model.outcome import ExecutionStatus
from elspeth_dagster.model.row import JSON


@dataclass(frozen=True, slots=True)
class PoolExecution:
    """One execution of a pooled node; both mappings as `executor.get_stats()` gave them."""

    node_id: str
    execution_id: str
    attempt: int
    status: ExecutionStatus
    pool_config: Mapping[str, JSON]
    pool_stats: Mapping[str, JSON]


def pool_executions(
    connection: Connection, run_id: str, *, node_id: str | None = None
) -> tuple[PoolExecution, ...]:
    """The pools of a run, in the pipeline's order; an execution that was killed left no numbers of its own."""
    table = node_executions
    question = (
        sa.select(table)
        .join(nodes, sa.and_(nodes.c.run_id == table.c.run_id, nodes.c.node_id == table.c.node_id))
        .where(table.c.run_id == run_id, table.c.pool_stats_json.is_not(None))
        .order_by(nodes.c.sequence, table.c.attempt)
    )
    if node_id is not None:
        question = question.where(table.c.node_id == node_id)
    found = ((one, json.loads(one.pool_stats_json)) for one in connection.execute(question))
    return tuple(
        PoolExecution(
            node_id=one.node_id,
            execution_id=one.execution_id,
            attempt=one.attempt,
            status=ExecutionStatus(one.status),
            pool_config=stats["pool_config"],
            pool_stats=stats["pool_stats"],
        )
        for one, stats in found
    )
