"""Heartbeats and progress: often enough to be believed, seldom enough to cost nothing, and never evidence."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from elspeth_dagster.errors import FenceLostError
from elspeth_dagster.landscape import heartbeat, schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import timestamp
from tests.landscape.gate import PATIENCE_S
from tests.landscape.material import FakeClock, begun, other_run, source_unit


def told(database: Database, handle: ExecutionHandle) -> dict[str, object]:
    """What the database knows of an execution that is under way."""
    progress, fences, leases = schema.progress, schema.fences, schema.leases
    with database.read() as connection:
        rows = connection.execute(
            sa.select(progress, fences.c.heartbeat_at.label("fence"), leases.c.heartbeat_at.label("lease"))
            .join(
                fences, sa.and_(fences.c.run_id == progress.c.run_id, fences.c.node_id == progress.c.node_id)
            )
            .join(leases, leases.c.run_id == progress.c.run_id)
            .where(progress.c.run_id == handle.run_id, progress.c.node_id == handle.node_id)
        )
        return dict(rows.mappings().one())


def beat(database: Database, handle: ExecutionHandle, clock: FakeClock) -> None:
    with database.write() as connection:
        heartbeat.beat(connection, handle, clock)


def test_a_beat_tells_how_far_the_execution_is(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    handle.rows_done, handle.rows_failed, handle.rows_total = 7, 2, 10
    clock.advance(1)

    beat(database, handle, clock)

    now = timestamp(clock.now())
    assert told(database, handle) == {
        "run_id": handle.run_id, "node_id": "source", "execution_id": handle.execution_id, "rows_done": 7,
        "rows_failed": 2, "rows_total": 10, "updated_at": now, "fence": now, "lease": now,
    }  # fmt: skip


def test_progress_is_told_often_and_the_heartbeat_seldom(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    assert heartbeat.is_due(handle, clock)
    beat(database, handle, clock)
    first = timestamp(clock.now())
    assert not heartbeat.is_due(handle, clock)

    clock.advance(heartbeat.PROGRESS_S)

    assert heartbeat.is_due(handle, clock)
    beat(database, handle, clock)
    known = told(database, handle)
    assert (known["updated_at"], known["fence"], known["lease"]) == (timestamp(clock.now()), first, first)
    clock.advance(heartbeat.HEARTBEAT_S)
    beat(database, handle, clock)
    known = told(database, handle)
    assert known["fence"] == known["lease"] == timestamp(clock.now())


def test_a_heartbeat_leaves_other_executions_alone(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    other_node = begun(database, "good", clock=clock)
    other = begun(database, clock=clock, run=other_run("another-run", pipeline="another"))
    before = [told(database, neighbour) for neighbour in (other_node, other)]
    handle.rows_done = 5
    clock.advance(60)

    beat(database, handle, clock)

    now = timestamp(clock.now())
    after = [told(database, neighbour) for neighbour in (other_node, other)]
    assert after == [{**before[0], "lease": now}, before[1]]  # the lease is the run's


def test_a_commit_brings_the_progress_along_when_it_is_due(
    database: Database, writer: LandscapeWriter, clock: FakeClock
) -> None:
    handle = begun(database, clock=clock)
    handle.rows_done = 1
    writer.write(handle, source_unit(handle, [0]))
    assert told(database, handle)["rows_done"] == 1

    handle.rows_done = 2
    writer.write(handle, source_unit(handle, [1]))
    assert told(database, handle)["rows_done"] == 1

    clock.advance(heartbeat.PROGRESS_S)
    writer.write(handle, source_unit(handle, [2]))
    assert told(database, handle)["rows_done"] == 2


def test_a_watched_execution_is_kept_alive_while_nothing_is_written(
    database: Database, writer: LandscapeWriter, clock: FakeClock
) -> None:
    handle = begun(database, clock=clock)
    writer.write(handle, Unit())
    handle.rows_done = 3
    clock.advance(60)
    committed = threading.Event()
    sa.event.listen(database.engine, "commit", lambda _connection: committed.set())

    writer.watch(handle)

    assert committed.wait(PATIENCE_S)
    writer.close()  # the beat is through
    known = told(database, handle)
    assert (known["rows_done"], known["fence"]) == (3, timestamp(clock.now()))


def test_an_idle_execution_that_lost_its_fence_learns_it_from_its_heartbeat(
    database: Database, clock: FakeClock
) -> None:
    handle = begun(database, clock=clock)
    successor = begun(database, clock=clock)
    rolled_back = threading.Event()
    sa.event.listen(database.engine, "rollback", lambda _connection: rolled_back.set())
    writer = LandscapeWriter(database, clock=clock)

    writer.watch(handle)
    assert rolled_back.wait(PATIENCE_S)
    writer.close()

    assert isinstance(handle.failure, FenceLostError)
    assert told(database, successor)["execution_id"] == successor.execution_id


def test_nobody_is_watched_any_more_after_none(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    before = told(database, handle)
    writer = LandscapeWriter(database, clock=clock)
    writer.watch(handle)
    writer.watch(None)
    clock.advance(60)

    writer.close()

    assert told(database, handle) == before


def test_the_heartbeat_is_far_below_what_counts_as_dead() -> None:
    assert heartbeat.PROGRESS_S < heartbeat.HEARTBEAT_S < heartbeat.STALE_S / 10
