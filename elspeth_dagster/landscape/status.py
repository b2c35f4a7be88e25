"""What a run's status is, from its executions and outcomes: Dagster has no last step that could say it.

An attempt that was launched elsewhere than on the command line may be finished long before anybody closes it.
"""

from __future__ import annotations

import datetime as dt
import json

import sqlalchemy as sa

from elspeth_dagster.landscape.adoption import ADOPTED
from elspeth_dagster.landscape.balance import run_balance
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.landscape.runs import attempts_of, heartbeat_of, let_in
from elspeth_dagster.landscape.schema import node_executions, node_states, nodes
from elspeth_dagster.model.clock import timestamp
from elspeth_dagster.model.outcome import BUDGET_SPENT, ExecutionStatus, RunStatus

LATE_ARRIVAL = "late_arrival_after_merge"
"""A failure that is part of a join's policy: it does not count against a run."""


def run_status(database: Database, run_id: str, *, now: dt.datetime) -> RunStatus:
    """The status of a run: that of its latest attempt that was let in, worked out where it is not closed."""
    closed = let_in(attempts_of(database, run_id)).status
    if closed is not RunStatus.RUNNING:
        return closed
    finished = finished_status(database, run_id)
    if finished is not None:
        return finished
    latest = latest_executions(database, run_id).values()
    if ExecutionStatus.FAILED in latest:
        return RunStatus.INCOMPLETE if is_over_budget(database, run_id) else RunStatus.FAILED
    stale = timestamp(now - dt.timedelta(seconds=STALE_S))
    if ExecutionStatus.INTERRUPTED in latest or heartbeat_of(database, run_id) < stale:
        return RunStatus.INTERRUPTED
    return RunStatus.RUNNING


def finished_status(database: Database, run_id: str) -> RunStatus | None:
    """How the run ended; None while a node is not done or a token has no outcome."""
    latest = latest_executions(database, run_id)
    if any(status is not ExecutionStatus.COMPLETED for status in latest.values()):
        return None
    if run_balance(database, run_id).waiting:
        return None
    return RunStatus.COMPLETED_WITH_FAILURES if has_failures(database, run_id) else RunStatus.COMPLETED


def latest_executions(database: Database, run_id: str) -> dict[str, ExecutionStatus | None]:
    """The status of each node's latest execution; None for one that was not begun. Adopted nodes are not to run."""
    table = node_executions
    with database.read() as connection:
        known = connection.execute(
            sa.select(nodes.c.node_id)
            .where(nodes.c.run_id == run_id, nodes.c.kind != ADOPTED)
            .order_by(nodes.c.sequence)
        )
        latest: dict[str, ExecutionStatus | None] = dict.fromkeys(known.scalars())
        executions = (
            sa.select(table.c.node_id, table.c.status)
            .where(table.c.run_id == run_id)
            .order_by(table.c.node_id, table.c.attempt)
        )
        for node_id, status in connection.execute(executions):
            latest[node_id] = ExecutionStatus(status)
    return latest


def is_over_budget(database: Database, run_id: str) -> bool:
    """Whether nothing but a spent budget stopped the run: then it is incomplete, and did not fail."""
    table = node_executions
    statement = (
        sa.select(table.c.node_id, table.c.status, table.c.error_json)
        .where(table.c.run_id == run_id)
        .order_by(table.c.node_id, table.c.attempt)
    )
    with database.read() as connection:
        latest = {node_id: (status, error) for node_id, status, error in connection.execute(statement)}
    failed = [error for status, error in latest.values() if status == ExecutionStatus.FAILED.value]
    return bool(failed) and all(json.loads(error or "{}").get("code") == BUDGET_SPENT for error in failed)


def has_failures(database: Database, run_id: str) -> bool:
    """Whether any row failed at a step, other than by coming late to a join that was decided."""
    table = node_states
    question = (
        sa.select(sa.literal(1))
        .where(
            table.c.run_id == run_id,
            table.c.status == "failed",
            sa.not_(table.c.error_json.contains(f'"code":"{LATE_ARRIVAL}"', autoescape=True)),
        )
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(question).first() is not None
