"""The writer: durable when it says so, in groups, in order, and never a unit by halves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import AuditConflictError, FenceLostError, LandscapeError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.writer import GROUP_RECORDS_MAX, LandscapeWriter
from tests.landscape.gate import PATIENCE_S, CommitGate
from tests.landscape.material import FakeClock, begun, count_of, done_state, open_state, source_unit


@pytest.fixture
def elsewhere(url: str, database: Database) -> Iterator[Database]:
    """The same Landscape through other connections, as another process sees it."""
    other = Database(url)
    yield other
    other.dispose()


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, clock=clock)


def bodies(numbers: Sequence[int]) -> Unit:
    """A unit of one record for each number."""
    unit = Unit()
    for number in numbers:
        unit.insert("payloads", ("row", number.to_bytes(4, "big"), b"{}"))
    return unit


def bad_unit(handle: ExecutionHandle) -> Unit:
    """A good row, and a token of a row that does not exist."""
    unit = source_unit(handle, [100])
    unit.insert(
        "tokens",
        sealed(
            "tokens",
            "orphan",
            handle.run_id,
            "no such row",
            b"1",
            None,
            "source",
            "orphan",
            handle.execution_id,
        ),
    )
    return unit


def test_a_ticket_is_done_when_others_can_read_the_unit(
    writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    writer.submit(source, source_unit(source, range(3))).result(PATIENCE_S)

    assert count_of(elsewhere, "rows") == 3


def test_a_ticket_is_not_done_before_its_commit_is(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    gate = CommitGate(database)
    gate.shut()

    ticket = writer.submit(source, source_unit(source, [0]))
    gate.wait_for_a_commit()

    assert not ticket.done()
    assert count_of(elsewhere, "rows") == 0
    gate.open()
    ticket.result(PATIENCE_S)
    assert count_of(elsewhere, "rows") == 1


def test_what_queues_while_a_commit_runs_becomes_one_transaction(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    gate = CommitGate(database)
    gate.shut()
    first = writer.submit(source, source_unit(source, [0]))
    gate.wait_for_a_commit()

    later = [writer.submit(source, source_unit(source, [index])) for index in range(1, 11)]
    gate.open()
    for ticket in (first, *later):
        ticket.result(PATIENCE_S)

    assert gate.commits == 2
    assert count_of(elsewhere, "rows") == 11


def test_a_group_is_bounded(database: Database, writer: LandscapeWriter, source: ExecutionHandle) -> None:
    gate = CommitGate(database)
    gate.shut()
    first = writer.submit(source, bodies([0]))
    gate.wait_for_a_commit()

    many = [writer.submit(source, bodies([number])) for number in range(1, 2 * GROUP_RECORDS_MAX + 2)]
    gate.open()
    for ticket in (first, *many):
        ticket.result(PATIENCE_S)

    assert gate.commits == 1 + 3


def test_a_unit_larger_than_a_group_is_still_one_transaction(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle
) -> None:
    gate = CommitGate(database)

    writer.write(source, bodies(range(3 * GROUP_RECORDS_MAX)))

    assert gate.commits == 1
    assert count_of(database, "payloads") == 3 * GROUP_RECORDS_MAX


def test_a_group_belongs_to_one_execution(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle, clock: FakeClock
) -> None:
    other = begun(database, "score", clock=clock)
    gate = CommitGate(database)
    gate.shut()
    first = writer.submit(source, bodies([0]))
    gate.wait_for_a_commit()

    mixed = [writer.submit(source if number % 2 else other, bodies([number])) for number in range(1, 7)]
    gate.open()
    for ticket in (first, *mixed):
        ticket.result(PATIENCE_S)

    assert gate.commits == 7


def test_units_are_stored_in_the_order_in_which_they_came(
    writer: LandscapeWriter, source: ExecutionHandle, database: Database, clock: FakeClock
) -> None:
    writer.write(source, source_unit(source, range(100)))
    score = begun(database, "score", clock=clock)
    tickets = []
    for index in range(100):  # a state can only be closed after it was opened, whichever group it falls into
        opening, closing = Unit(), Unit()
        opening.insert("node_states", open_state(score, index))
        closing.close("node_states", done_state(score, index))
        tickets += [writer.submit(score, opening), writer.submit(score, closing)]

    for ticket in tickets:
        ticket.result(PATIENCE_S)

    with database.read() as connection:
        statuses = connection.execute(sa.select(schema.node_states.c.status)).scalars().all()
    assert statuses == ["completed"] * 100


def test_many_threads_hand_over_units_and_lose_none(
    writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    def hand_over(index: int) -> None:
        writer.write(source, source_unit(source, [index]))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hand_over, range(200)))

    assert count_of(elsewhere, "rows") == 200


# What goes wrong ----------------------------------------------------------------------------------------------------


def test_nothing_of_a_unit_with_a_bad_record_is_stored(
    writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    with pytest.raises(AuditConflictError, match="refused a record"):
        writer.write(source, bad_unit(source))

    assert [count_of(elsewhere, table) for table in ("rows", "tokens", "payloads", "row_salts")] == [0] * 4


def test_after_a_failed_unit_its_execution_stores_nothing_more(
    writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    writer.write(source, source_unit(source, [0]))
    failed = writer.submit(source, bad_unit(source)).exception(PATIENCE_S)

    later = writer.submit(source, source_unit(source, [1])).exception(PATIENCE_S)

    assert isinstance(failed, AuditConflictError)
    assert later is failed
    assert source.failure is failed
    assert count_of(elsewhere, "rows") == 1


def test_a_failed_commit_fails_every_unit_of_its_group(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    gate = CommitGate(database)
    gate.shut()
    first = writer.submit(source, source_unit(source, [0]))
    gate.wait_for_a_commit()

    group = [
        writer.submit(source, unit)
        for unit in (source_unit(source, [1]), bad_unit(source), source_unit(source, [2]))
    ]
    gate.open()

    assert first.exception(PATIENCE_S) is None
    assert {type(ticket.exception(PATIENCE_S)) for ticket in group} == {AuditConflictError}
    assert count_of(elsewhere, "rows") == 1


def test_another_execution_goes_on_after_one_failed(
    database: Database,
    writer: LandscapeWriter,
    source: ExecutionHandle,
    clock: FakeClock,
    elsewhere: Database,
) -> None:
    other = begun(database, "good", clock=clock)
    with pytest.raises(AuditConflictError):
        writer.write(source, bad_unit(source))

    writer.write(other, bodies([1]))

    assert other.failure is None
    assert count_of(elsewhere, "payloads") == 1


def test_an_error_that_is_none_of_the_databases_reaches_the_ticket_too(
    writer: LandscapeWriter, source: ExecutionHandle, database: Database, clock: FakeClock
) -> None:
    other = begun(database, "good", clock=clock)
    unit = Unit()
    unit.insert("payloads", ("row", b"hash"))  # a column short

    assert writer.submit(source, unit).exception(PATIENCE_S) is not None

    writer.write(other, bodies([1]))  # the thread lives
    assert count_of(database, "payloads") == 1


def test_who_lost_the_fence_writes_nothing_more(
    database: Database,
    writer: LandscapeWriter,
    source: ExecutionHandle,
    clock: FakeClock,
    elsewhere: Database,
) -> None:
    writer.write(source, source_unit(source, [0]))
    successor = begun(database, clock=clock)

    with pytest.raises(FenceLostError, match="1f0c9a52/source has lost its node to 1f0c9a52/source~2"):
        writer.write(source, source_unit(source, [1]))

    with pytest.raises(FenceLostError):
        writer.write(source, source_unit(source, [2]))
    assert count_of(elsewhere, "rows") == 1
    writer.write(successor, source_unit(successor, range(3)))
    assert count_of(elsewhere, "rows") == 3


def test_a_fence_is_not_taken_while_a_commit_is_under_way(
    url: str, database: Database, writer: LandscapeWriter, source: ExecutionHandle, clock: FakeClock
) -> None:
    gate = CommitGate(database)
    gate.shut()
    ticket = writer.submit(source, source_unit(source, [0]))
    gate.wait_for_a_commit()
    rival = Database(url)

    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(begun, rival, clock=clock)
        assert not taking.done()
        gate.open()
        successor = taking.result(PATIENCE_S)

    ticket.result(PATIENCE_S)
    assert successor.attempt == 2
    assert count_of(rival, "rows") == 1
    rival.dispose()


# Giving up waiting, and closing --------------------------------------------------------------------------------------


def test_a_unit_is_stored_although_nobody_waits_for_it_any_more(
    database: Database, writer: LandscapeWriter, source: ExecutionHandle, elsewhere: Database
) -> None:
    gate = CommitGate(database)
    gate.shut()
    ticket = writer.submit(source, source_unit(source, [0]))

    async def wait_and_give_up() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(ticket))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(wait_and_give_up())
    gate.open()

    assert not ticket.cancel()
    assert ticket.exception(PATIENCE_S) is None
    writer.write(source, source_unit(source, [1]))  # the thread lives
    assert count_of(elsewhere, "rows") == 2


def test_closing_commits_what_is_queued(
    database: Database, source: ExecutionHandle, clock: FakeClock, elsewhere: Database
) -> None:
    writer = LandscapeWriter(database, clock=clock)
    gate = CommitGate(database)
    gate.shut()
    tickets = [writer.submit(source, source_unit(source, [index])) for index in range(20)]
    gate.wait_for_a_commit()

    closing = threading.Thread(target=writer.close)
    closing.start()
    gate.open()
    closing.join(PATIENCE_S)

    assert not closing.is_alive()
    assert all(ticket.done() and ticket.exception() is None for ticket in tickets)
    assert count_of(elsewhere, "rows") == 20


def test_a_closed_writer_takes_nothing_more(
    database: Database, source: ExecutionHandle, clock: FakeClock, elsewhere: Database
) -> None:
    writer = LandscapeWriter(database, clock=clock)
    writer.close()
    writer.close()

    with pytest.raises(LandscapeError, match="writer is closed"):
        writer.submit(source, source_unit(source, [0]))

    assert count_of(elsewhere, "rows") == 0


def test_every_ticket_is_answered_although_the_writer_closes_meanwhile(
    database: Database, source: ExecutionHandle, clock: FakeClock, elsewhere: Database
) -> None:
    writer = LandscapeWriter(database, clock=clock)
    begin = threading.Barrier(5)

    def hand_over(start: int) -> int:
        begin.wait(PATIENCE_S)
        taken = 0
        for index in range(start, start + 50):
            try:
                ticket = writer.submit(source, source_unit(source, [index]))
            except LandscapeError:
                break
            ticket.result(PATIENCE_S)
            taken += 1
        return taken

    with ThreadPoolExecutor(4) as threads:
        handing = [threads.submit(hand_over, start) for start in range(0, 200, 50)]
        begin.wait(PATIENCE_S)
        writer.close()
        taken = sum(done.result(PATIENCE_S) for done in handing)

    assert count_of(elsewhere, "rows") == taken
