"""Attempts that nobody has closed: who works on them, when they were last heard of, and how to free what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import fences, leases, node_executions, pool_members, run_attempts
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus


@dataclass(frozen=True, slots=True)
class OpenAttempts:
    """One Dagster run's open attempts: at one run, or at one for each of its partitions.

    ``is_working``: a node's execution is open, so a live process would be heard of every few seconds; between two nodes
    nobody beats.
    """

    dagster_run_id: str
    run_ids: tuple[str, ...]
    host: str
    pid: int
    heartbeat_at: str
    is_working: bool


def open_attempts(database: Database) -> tuple[OpenAttempts, ...]:
    """Everything that counts as under way, by Dagster run."""
    table = run_attempts
    question = (
        sa.select(table.c.dagster_run_id, table.c.run_id, table.c.host, table.c.pid, table.c.started_at)
        .where(table.c.status == RunStatus.RUNNING.value)
        .order_by(table.c.dagster_run_id, table.c.run_id)
    )
    with database.read() as connection:
        by_run: dict[str, list[sa.RowMapping]] = {}
        for found in connection.execute(question).mappings():
            by_run.setdefault(found["dagster_run_id"], []).append(found)
        return tuple(
            OpenAttempts(
                dagster_run_id=dagster_run_id,
                run_ids=tuple(one["run_id"] for one in several),
                host=several[0]["host"],
                pid=several[0]["pid"],
                heartbeat_at=_last_heard(
                    connection, dagster_run_id, started_at=[one["started_at"] for one in several]
                ),
                is_working=_is_working(connection, dagster_run_id),
            )
            for dagster_run_id, several in by_run.items()
        )


def _last_heard(connection: sa.Connection, dagster_run_id: str, *, started_at: Iterable[str]) -> str:
    executions = node_executions
    questions = [
        sa.select(sa.func.max(table.c.heartbeat_at)).where(table.c.dagster_run_id == dagster_run_id)
        for table in (fences, leases)
    ]
    questions += [
        sa.select(sa.func.max(moment)).where(executions.c.dagster_run_id == dagster_run_id)
        for moment in (executions.c.started_at, executions.c.completed_at)
    ]
    moments = [connection.execute(question).scalar() for question in questions]
    return max(str(moment) for moment in (*started_at, *moments) if moment is not None)


def _is_working(connection: sa.Connection, dagster_run_id: str) -> bool:
    question = sa.select(sa.literal(1)).where(
        node_executions.c.dagster_run_id == dagster_run_id,
        node_executions.c.status == ExecutionStatus.OPEN.value,
    )
    return connection.execute(question.limit(1)).first() is not None


def free(database: Database, dagster_run_id: str) -> None:
    """Take from a Dagster run everything that it holds: its leases, fences and shares of pools.

    A process of it that is alive after all cannot write any more: it stops at its next commit.
    """
    members = sa.select(node_executions.c.execution_id).where(
        node_executions.c.dagster_run_id == dagster_run_id
    )
    with database.alone() as connection:
        # Fences before leases, as everybody who takes both.
        connection.execute(sa.delete(fences).where(fences.c.dagster_run_id == dagster_run_id))
        connection.execute(sa.delete(leases).where(leases.c.dagster_run_id == dagster_run_id))
        connection.execute(sa.delete(pool_members).where(pool_members.c.member_id.in_(members)))
