"""Begin and end one execution of a node: its lease, its fence, and the closing of what its predecessor left open.

A lease is held per pipeline and partition, a fence per run and node. An execution takes either over only from an
earlier try of the same Dagster run, from a Dagster run that has ended, or from a heartbeat that is silent for too long.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import AlreadyRunningError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.heartbeat import STALE_S
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.purges import refuse_purged
from elspeth_dagster.landscape.records import Record, Unit, closed, opened
from elspeth_dagster.landscape.registration import EndOf, RunRegistration, closed_attempt
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.clock import Clock, timestamp
from elspeth_dagster.model.outcome import CallStatus, ExecutionStatus, RunStatus, StateStatus
from elspeth_dagster.model.row import JSON


@patient
def begin_execution(
    database: Database, run: RunRegistration, *, key: str, node_id: str, clock: Clock, end_of: EndOf
) -> ExecutionHandle:
    """Take the lease and the fence, close what an earlier execution left open, and open this one.

    Raises:
        AlreadyRunningError: a live run or process holds the pipeline or the node.
        LaunchError: the run was purged, or is being purged.
    """
    partition = run.partition_key or ""
    holders = _holders(database, run, node_id, partition)
    closed_here = _closed_attempts(database, holders)
    ended = {holder: holder in closed_here or end_of(holder) is not None for holder in holders}
    now = timestamp(clock.now())
    stale = timestamp(clock.now() - dt.timedelta(seconds=STALE_S))
    with database.alone() as connection:
        refuse_purged(connection, run_id=run.run_id, run_key=key, where=database.shown_url)
        # The fence first, as a committing writer does that refreshes its lease afterwards.
        fence = _locked(
            connection,
            schema.fences,
            schema.fences.c.run_id == run.run_id,
            schema.fences.c.node_id == node_id,
        )
        lease = _locked(
            connection,
            schema.leases,
            schema.leases.c.pipeline == run.pipeline,
            schema.leases.c.partition_key == partition,
        )
        for held, what in ((lease, f"pipeline {run.pipeline!r}"), (fence, f"node {node_id!r}")):
            if held is not None and not _may_take(held, run, ended, stale):
                raise _already_running(what, held)
        attempt = _next_attempt(connection, run.run_id, node_id)
        handle = ExecutionHandle(
            execution_id=ids.execution_id(key, node_id, attempt),
            run_id=run.run_id,
            run_key=key,
            node_id=node_id,
            attempt=attempt,
            pipeline=run.pipeline,
            partition_key=run.partition_key,
            dagster_run_id=run.dagster_run_id,
            started_at=now,
        )
        _take(connection, handle, now)
        opening = _opening(connection, handle, now)
        store(connection, opening)
        handle.tables.update(opening.closings)
    return handle


def _closed_attempts(database: Database, holders: Collection[str]) -> set[str]:
    """Those whose attempts are all closed in the Landscape: they have ended, whatever this Dagster knows of them."""
    table = schema.run_attempts
    with database.read() as connection:
        found = connection.execute(
            sa.select(table.c.dagster_run_id, table.c.status).where(table.c.dagster_run_id.in_(list(holders)))
        ).all()
    still_open = {dagster_run_id for dagster_run_id, status in found if status == RunStatus.RUNNING.value}
    return {str(dagster_run_id) for dagster_run_id, _ in found} - still_open


def _holders(database: Database, run: RunRegistration, node_id: str, partition: str) -> set[str]:
    leases, fences = schema.leases, schema.fences
    with database.read() as connection:
        found = connection.execute(
            sa.select(leases.c.dagster_run_id)
            .where(leases.c.pipeline == run.pipeline, leases.c.partition_key == partition)
            .union(
                sa.select(fences.c.dagster_run_id).where(
                    fences.c.run_id == run.run_id, fences.c.node_id == node_id
                )
            )
        )
        return {str(holder) for holder in found.scalars()} - {run.dagster_run_id}


def _locked(connection: Connection, table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.RowMapping | None:
    return connection.execute(sa.select(table).where(*where).with_for_update()).mappings().first()


def _may_take(held: sa.RowMapping, run: RunRegistration, ended: Mapping[str, bool], stale: str) -> bool:
    holder = held["dagster_run_id"]
    return holder == run.dagster_run_id or ended.get(holder, False) or held["heartbeat_at"] < stale


def _already_running(what: str, held: sa.RowMapping) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"Another run works on {what}.",
        where=f"Dagster run {held['dagster_run_id']}, last heard of at {held['heartbeat_at']}",
        hint=f"wait for it or terminate it; if its process is gone it counts as dead {STALE_S:.0f} s after that",
    )


def _next_attempt(connection: Connection, run_id: str, node_id: str) -> int:
    table = schema.node_executions
    latest = connection.execute(
        sa.select(sa.func.max(table.c.attempt)).where(table.c.run_id == run_id, table.c.node_id == node_id)
    ).scalar()
    return 1 if latest is None else int(latest) + 1


def _take(connection: Connection, handle: ExecutionHandle, now: str) -> None:
    """Take lease, fence and progress: operational rows of one key each."""
    holder: dict[str, str | int | None] = {"dagster_run_id": handle.dagster_run_id, "heartbeat_at": now}
    lease = {"pipeline": handle.pipeline, "partition_key": handle.partition_key or ""}
    place = {"run_id": handle.run_id, "node_id": handle.node_id}
    execution = {"execution_id": handle.execution_id}
    counts: dict[str, str | int | None] = {
        "rows_done": 0,
        "rows_failed": 0,
        "rows_total": None,
        "updated_at": now,
    }
    _put(connection, schema.fences, place, execution | holder)
    _put(connection, schema.leases, lease, {"run_id": handle.run_id} | holder)
    _put(connection, schema.progress, place, execution | counts)


def _put(
    connection: Connection,
    table: sa.Table,
    key: Mapping[str, str],
    values: Mapping[str, str | int | None],
) -> None:
    """Update a row in place, or make it: who waits for its lock sees what it became, not that it went."""
    of_key = (table.c[column] == value for column, value in key.items())
    if connection.execute(sa.update(table).where(*of_key).values(values)).rowcount == 0:
        connection.execute(sa.insert(table).values({**key, **values}))


def _opening(connection: Connection, handle: ExecutionHandle, now: str) -> Unit:
    """This execution's open record, and the closing of everything that its predecessors left open."""
    unit = Unit()
    unit.insert("node_executions", _open_record(handle))
    _close_attempts(connection, handle, unit, now)
    executions = schema.node_executions
    for record in connection.execute(
        sa.select(executions).where(
            executions.c.run_id == handle.run_id,
            executions.c.node_id == handle.node_id,
            executions.c.status == ExecutionStatus.OPEN.value,
        )
    ):
        superseded = closed(
            "node_executions", record, status=ExecutionStatus.SUPERSEDED.value, completed_at=now
        )
        unit.close("node_executions", superseded)
    _close_visits(connection, handle, unit, now)
    return unit


def _close_attempts(connection: Connection, handle: ExecutionHandle, unit: Unit, now: str) -> None:
    """Who held the lease is dead by the rule under which it was taken, and so are the run's other attempts."""
    attempts = schema.run_attempts
    for record in connection.execute(
        sa.select(attempts).where(
            attempts.c.run_id == handle.run_id,
            attempts.c.dagster_run_id != handle.dagster_run_id,
            attempts.c.status == RunStatus.RUNNING.value,
        )
    ):
        reason = "taken over by another attempt"
        unit.close("run_attempts", closed_attempt(record, RunStatus.INTERRUPTED, reason, None, now))


def _close_visits(connection: Connection, handle: ExecutionHandle, unit: Unit, now: str) -> None:
    """States close as interrupted. Calls close as unknown: no answer was kept, and they may have been paid for."""
    states, calls = schema.node_states, schema.calls
    of_node = (states.c.run_id == handle.run_id, states.c.node_id == handle.node_id)
    open_states = sa.select(states).where(*of_node, states.c.status == StateStatus.OPEN.value)
    for record in connection.execute(open_states):
        interrupted = closed(
            "node_states",
            record,
            status=StateStatus.INTERRUPTED.value,
            completed_at=now,
            execution_id=handle.execution_id,
        )
        unit.close("node_states", interrupted)
    open_calls = sa.select(calls).join(states, states.c.state_id == calls.c.state_id)
    for record in connection.execute(open_calls.where(*of_node, calls.c.status == CallStatus.OPEN.value)):
        unknown = closed(
            "calls",
            record,
            status=CallStatus.UNKNOWN.value,
            error_json=_json({"code": "outcome_unknown"}),
            answered_at=now,
            execution_id=handle.execution_id,
        )
        unit.close("calls", unknown)


def ended_execution(
    handle: ExecutionHandle,
    status: ExecutionStatus,
    *,
    rows_in: int,
    rows_out: int,
    rows_failed: int,
    rows_reused: int,
    pool_stats: Mapping[str, JSON] | None,
    usage: Mapping[str, JSON] | None,
    metrics: Mapping[str, JSON],
    error: Mapping[str, JSON] | None,
    now: str,
) -> Record:
    """The final form of an execution's record."""
    return closed(
        "node_executions",
        _open_record(handle),
        status=status.value,
        rows_in=rows_in,
        rows_out=rows_out,
        rows_failed=rows_failed,
        rows_reused=rows_reused,
        pool_stats_json=_json(pool_stats),
        usage_json=_json(usage),
        metrics_json=_json(metrics),
        error_json=_json(error),
        completed_at=now,
    )


def _open_record(handle: ExecutionHandle) -> Record:
    return opened(
        handle.execution_id, handle.run_id, handle.node_id, handle.attempt, handle.dagster_run_id,
        ExecutionStatus.OPEN.value, None, None, None, None, None, None, None, None, handle.started_at, None,
    )  # fmt: skip


def _json(value: Mapping[str, JSON] | None) -> str | None:
    return None if value is None else canonical_bytes(dict(value)).decode()
