"""An event loop's tickets keep the promises of a thread's, and wake the loop once for a whole group."""

from __future__ import annotations

import asyncio
import threading

import pytest

from elspeth_dagster.errors import AuditConflictError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.writer import LandscapeWriter
from tests.landscape.gate import PATIENCE_S, CommitGate
from tests.landscape.material import FakeClock, begun, count_of, source_unit


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, clock=clock)


def conflicting(source: ExecutionHandle) -> Unit:
    """Row 0, with another salt and so another content than ``source_unit`` gives it."""
    unit = source_unit(source, [0])
    row = unit.inserts["rows"][0]
    unit.inserts["rows"] = [(*row[:-3], b"another hash".ljust(32), *row[-2:])]
    return unit


def test_a_loops_ticket_is_done_when_its_unit_is_durable(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    gate = CommitGate(database)
    gate.shut()

    async def store() -> None:
        ticket = writer.submit_in_loop(source, source_unit(source, [0]))
        await asyncio.to_thread(gate.wait_for_a_commit)
        assert not ticket.done()
        gate.open()
        await asyncio.wait_for(ticket, PATIENCE_S)

    asyncio.run(store())
    assert count_of(database, "rows") == 1


def test_a_group_wakes_the_loop_once(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    gate = CommitGate(database)
    wakes = 0

    async def store() -> None:
        nonlocal wakes
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(*arguments: object) -> asyncio.Handle:
            nonlocal wakes
            wakes += threading.current_thread().name == "landscape-writer"
            return wake(*arguments)  # type: ignore[arg-type]

        gate.shut()
        first = writer.submit_in_loop(source, source_unit(source, [0]))
        await asyncio.to_thread(gate.wait_for_a_commit)
        loop.call_soon_threadsafe = counted  # type: ignore[assignment]
        later = [writer.submit_in_loop(source, source_unit(source, [index])) for index in range(1, 11)]
        gate.open()
        await asyncio.wait_for(asyncio.gather(first, *later), PATIENCE_S)

    asyncio.run(store())
    assert (gate.commits, wakes) == (2, 2)


def test_a_commit_that_fails_fails_every_ticket_of_the_loop(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    writer.write(source, source_unit(source, [0]))
    gate = CommitGate(database)

    async def store() -> tuple[BaseException | None, ...]:
        gate.shut()
        first = writer.submit_in_loop(source, source_unit(source, [1]))
        await asyncio.to_thread(gate.wait_for_a_commit)
        second = writer.submit_in_loop(source, conflicting(source))
        third = writer.submit_in_loop(source, source_unit(source, [2]))
        gate.open()
        return await asyncio.wait_for(
            asyncio.gather(first, second, third, return_exceptions=True), PATIENCE_S
        )

    first, second, third = asyncio.run(store())
    assert first is None
    assert isinstance(second, AuditConflictError)
    assert isinstance(third, AuditConflictError)
    assert count_of(database, "rows") == 2


def test_who_awaits_may_go_and_the_others_are_told(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    gate = CommitGate(database)

    async def store() -> None:
        gate.shut()
        first = writer.submit_in_loop(source, source_unit(source, [0]))
        await asyncio.to_thread(gate.wait_for_a_commit)
        left = writer.submit_in_loop(source, source_unit(source, [1]))
        stayed = writer.submit_in_loop(source, source_unit(source, [2]))
        left.cancel()
        gate.open()
        await asyncio.wait_for(asyncio.gather(first, stayed), PATIENCE_S)

    asyncio.run(store())
    assert count_of(database, "rows") == 3


def test_a_loop_that_is_gone_does_not_stop_the_writer(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    gate = CommitGate(database)
    gate.shut()

    async def leave() -> None:
        writer.submit_in_loop(source, source_unit(source, [0]))

    asyncio.run(leave())
    gate.open()
    writer.write(source, source_unit(source, [1]))

    assert count_of(database, "rows") == 2
