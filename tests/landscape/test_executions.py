"""Leases and fences: who may work on a node, and what becomes of what the one before left open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import AlreadyRunningError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import ended_execution
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.heartbeat import STALE_S, beat
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.registration import EndOf, RunRegistration, close_attempt
from elspeth_dagster.landscape.runs import recent_runs
from elspeth_dagster.landscape.status import run_status
from elspeth_dagster.model.canonical import record_hash
from elspeth_dagster.model.clock import timestamp
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus
from tests.landscape.material import (
    NOW,
    RUN,
    RUN_ID,
    FakeClock,
    all_alive,
    all_failed,
    begun,
    count_of,
    done_state,
    ended,
    open_call,
    open_state,
    other_run,
    other_try,
    source_unit,
)

RESUMED = other_try(RUN, "resumed")
NEXT_DAY = other_run("2e0c9a52-0000", pipeline="triage")


def commit(database: Database, unit: Unit) -> None:
    with database.write() as connection:
        store(connection, unit)


def records(database: Database, table: sa.Table) -> list[sa.RowMapping]:
    with database.read() as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings())


def holder(database: Database) -> tuple[str, str]:
    """The execution that holds the source's fence, and the Dagster run that holds the lease."""
    (fence,) = [one for one in records(database, schema.fences) if one["node_id"] == "source"]
    (lease,) = records(database, schema.leases)
    return str(fence["execution_id"]), str(lease["dagster_run_id"])


def end(database: Database, handle: ExecutionHandle) -> None:
    unit = Unit()
    unit.close(
        "node_executions",
        ended_execution(
            handle, ExecutionStatus.COMPLETED, rows_in=3, rows_out=2, rows_failed=1, rows_reused=0,
            pool_stats={"size": 4}, usage=None, metrics={"seconds": 1.5}, error=None, now=NOW,
        ),
    )  # fmt: skip
    commit(database, unit)


# Beginning and ending -----------------------------------------------------------------------------------------------


def test_a_first_execution_takes_lease_and_fence_and_is_open(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)

    assert (handle.execution_id, handle.attempt, handle.run_key) == ("1f0c9a52/source", 1, "1f0c9a52")
    assert holder(database) == ("1f0c9a52/source", RUN_ID)
    (execution,) = records(database, schema.node_executions)
    assert (execution["status"], execution["record_hash"]) == ("open", None)
    (progress,) = records(database, schema.progress)
    assert (progress["rows_done"], progress["rows_total"]) == (0, None)


def test_an_execution_ends_with_its_numbers_and_a_seal(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)

    end(database, handle)

    (execution,) = records(database, schema.node_executions)
    assert {name: execution[name] for name in ("status", "rows_in", "rows_out", "rows_failed", "metrics_json")} == {
        "status": "completed", "rows_in": 3, "rows_out": 2, "rows_failed": 1, "metrics_json": '{"seconds":1.5}',
    }  # fmt: skip
    assert (execution["usage_json"], execution["error_json"]) == (None, None)
    assert execution["record_hash"] == record_hash("node_executions", [*execution.values()][:-1])


def test_executions_of_a_node_are_numbered(database: Database, clock: FakeClock) -> None:
    begun(database, clock=clock)
    begun(database, "score", clock=clock)

    again = begun(database, clock=clock)

    assert (again.execution_id, again.attempt) == ("1f0c9a52/source~2", 2)


def test_nodes_of_one_run_have_fences_of_their_own(database: Database, clock: FakeClock) -> None:
    begun(database, "score", clock=clock)
    begun(database, "sort", clock=clock)

    assert {one["node_id"]: one["execution_id"] for one in records(database, schema.fences)} == {
        "score": "1f0c9a52/score", "sort": "1f0c9a52/sort",
    }  # fmt: skip
    assert count_of(database, "leases") == 1


@pytest.mark.parametrize(
    "neighbour",
    [
        other_run("2e0c9a52-0000", pipeline="another"),
        other_run("2e0c9a52-0000", partition_key="2026-01-31"),
    ],
    ids=["pipeline", "partition"],
)
def test_another_pipeline_or_partition_runs_beside_it(
    database: Database, clock: FakeClock, neighbour: RunRegistration
) -> None:
    begun(database, clock=clock)

    beside = begun(database, clock=clock, run=neighbour)

    assert beside.attempt == 1
    assert count_of(database, "leases") == 2


# Who may take over --------------------------------------------------------------------------------------------------


def test_a_later_try_of_the_same_dagster_run_takes_over(database: Database, clock: FakeClock) -> None:
    begun(database, clock=clock)

    begun(database, clock=clock, end_of=all_alive)

    assert holder(database) == ("1f0c9a52/source~2", RUN_ID)


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.COMPLETED, RunStatus.INTERRUPTED])
@pytest.mark.parametrize("run", [RESUMED, NEXT_DAY], ids=["resumed", "another run"])
def test_what_a_finished_dagster_run_held_is_free(
    database: Database, clock: FakeClock, run: RunRegistration, status: RunStatus
) -> None:
    begun(database, clock=clock)

    handle = begun(database, clock=clock, run=run, end_of=ended(**{RUN_ID: status}))

    assert handle.dagster_run_id == run.dagster_run_id
    (lease,) = records(database, schema.leases)
    assert (lease["run_id"], lease["dagster_run_id"]) == (run.run_id, run.dagster_run_id)


@pytest.mark.parametrize("run", [RESUMED, NEXT_DAY], ids=["resumed", "another run"])
def test_a_live_rival_is_refused_before_anything_is_taken(
    database: Database, clock: FakeClock, run: RunRegistration
) -> None:
    begun(database, clock=clock)
    clock.advance(STALE_S)  # to the second: not yet dead

    with pytest.raises(AlreadyRunningError) as refused:
        begun(database, clock=clock, run=run)

    assert RUN_ID in str(refused.value)
    assert "90 s" in str(refused.value)
    assert holder(database) == ("1f0c9a52/source", RUN_ID)
    assert count_of(database, "node_executions") == 1


def test_a_resume_that_was_refused_says_nothing_of_how_the_run_stands(
    database: Database, clock: FakeClock
) -> None:
    begun(database, clock=clock)
    with pytest.raises(AlreadyRunningError):
        begun(database, clock=clock, run=RESUMED)

    close_attempt(
        database,
        run_id=RUN_ID,
        dagster_run_id=RESUMED.dagster_run_id,
        status=RunStatus.FAILED,
        reason=AlreadyRunningError.code,
        counts=None,
        clock=clock,
    )

    assert run_status(database, RUN_ID, now=clock.now()) is RunStatus.RUNNING
    (listed,) = recent_runs(database, runs_max=5)
    assert listed.latest.dagster_run_id == RUN_ID


@pytest.mark.parametrize("run", [RESUMED, NEXT_DAY], ids=["resumed", "another run"])
def test_a_silent_rival_counts_as_dead(database: Database, clock: FakeClock, run: RunRegistration) -> None:
    begun(database, clock=clock)
    clock.advance(STALE_S + 0.001)

    handle = begun(database, clock=clock, run=run)

    assert handle.dagster_run_id == run.dagster_run_id


def test_a_heartbeat_keeps_a_rival_away(database: Database, clock: FakeClock) -> None:
    handle = begun(database, clock=clock)
    clock.advance(STALE_S)
    with database.write() as connection:
        beat(connection, handle, clock)
    clock.advance(STALE_S)

    with pytest.raises(AlreadyRunningError, match="pipeline 'triage'"):
        begun(database, clock=clock, run=NEXT_DAY)


def test_a_node_that_still_beats_is_not_taken_although_the_lease_is_free(
    database: Database, clock: FakeClock
) -> None:
    begun(database, clock=clock)
    with database.write() as connection:
        connection.execute(sa.delete(schema.leases))

    with pytest.raises(AlreadyRunningError, match="node 'source'"):
        begun(database, clock=clock, run=RESUMED)


def test_of_many_runs_that_begin_at_once_one_is_let_in(database: Database, clock: FakeClock) -> None:
    runs = [other_run(f"{number}e0c9a52-0000", pipeline="triage") for number in range(8)]

    def attempt(run: RunRegistration) -> str:
        try:
            return begun(database, clock=clock, run=run).run_id
        except AlreadyRunningError:
            return "refused"

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(attempt, runs))

    (winner,) = [run_id for run_id in got if run_id != "refused"]
    (lease,) = records(database, schema.leases)
    assert lease["run_id"] == winner
    assert count_of(database, "node_executions") == 1


def test_tries_of_one_dagster_run_that_begin_at_once_follow_each_other(
    database: Database, clock: FakeClock
) -> None:
    with ThreadPoolExecutor(8) as threads:
        handles = list(threads.map(lambda _: begun(database, clock=clock), range(8)))

    assert sorted(handle.attempt for handle in handles) == list(range(1, 9))
    assert [one["status"] for one in records(database, schema.node_executions)].count("open") == 1
    assert holder(database)[0] == "1f0c9a52/source~8"


# What was left open -------------------------------------------------------------------------------------------------


@pytest.fixture
def left_open(database: Database, clock: FakeClock) -> ExecutionHandle:
    """An execution that stopped with row 0 done, row 1 open and one of its two calls, row 2 open without a call."""
    source = begun(database, clock=clock)
    commit(database, source_unit(source, range(3)))
    handle = begun(database, "score", clock=clock)
    unit = Unit()
    unit.insert("node_states", done_state(handle, 0))
    for index in (1, 2):
        unit.insert("node_states", open_state(handle, index))
    for call_index in (0, 1):
        unit.insert("calls", open_call(handle, open_state(handle, 1), call_index))
    commit(database, unit)
    answered = Unit()
    answered.close(
        "calls",
        closed("calls", open_call(handle, open_state(handle, 1), 0), status="answered", answered_at=NOW),
    )
    commit(database, answered)
    return handle


SUCCESSORS: dict[str, tuple[RunRegistration, EndOf, float]] = {
    "a later try": (RUN, all_alive, 0),
    "a resume after the end": (RESUMED, all_failed, 0),
    "a resume after silence": (RESUMED, all_alive, STALE_S + 1),
}


@pytest.mark.parametrize("successor", SUCCESSORS)
def test_what_a_predecessor_left_open_is_closed_by_its_successor(
    database: Database, clock: FakeClock, left_open: ExecutionHandle, successor: str
) -> None:
    run, end_of, later_s = SUCCESSORS[successor]
    clock.advance(later_s)

    handle = begun(database, "score", clock=clock, run=run, end_of=end_of)

    states = {one["state_id"]: one for one in records(database, schema.node_states)}
    assert {name.split("-")[1]: one["status"] for name, one in states.items()} == {
        "000000000@score": "completed", "000000001@score": "interrupted", "000000002@score": "interrupted",
    }  # fmt: skip
    calls = records(database, schema.calls)
    assert [(one["call_index"], one["status"], one["error_json"]) for one in calls] == [
        (0, "answered", None), (1, "unknown", '{"code":"outcome_unknown"}'),
    ]  # fmt: skip
    executions = {one["execution_id"]: one["status"] for one in records(database, schema.node_executions)}
    assert executions[left_open.execution_id] == "superseded"
    assert executions[handle.execution_id] == "open"
    interrupted = states["1f0c9a52-000000001@score"]
    assert (interrupted["execution_id"], interrupted["out_port"]) == (handle.execution_id, None)
    assert interrupted["completed_at"] == calls[1]["answered_at"] == timestamp(clock.now())


def test_every_record_that_a_successor_closes_is_sealed(
    database: Database, clock: FakeClock, left_open: ExecutionHandle
) -> None:
    begun(database, "score", clock=clock, run=RESUMED, end_of=all_failed)

    for table in (schema.node_states, schema.calls, schema.node_executions, schema.run_attempts):
        for record in records(database, table):
            if record["status"] not in {"open", "running"}:
                cells = [*record.values()]
                assert cells[-1] == record_hash(table.name, cells[:-1])


def test_a_successor_leaves_other_nodes_and_runs_alone(
    database: Database, clock: FakeClock, left_open: ExecutionHandle
) -> None:
    before = [records(database, table) for table in (schema.node_states, schema.calls)]

    begun(database, "sort", clock=clock)
    begun(database, "score", clock=clock, run=other_run("2e0c9a52-0000", pipeline="another"))

    assert [records(database, table) for table in (schema.node_states, schema.calls)] == before


def test_a_refused_rival_closes_nothing(
    database: Database, clock: FakeClock, left_open: ExecutionHandle
) -> None:
    tables = (schema.node_states, schema.calls, schema.node_executions)
    before = [records(database, table) for table in tables]

    with pytest.raises(AlreadyRunningError):
        begun(database, "score", clock=clock, run=RESUMED)

    assert [records(database, table) for table in tables] == before
    first = records(database, schema.run_attempts)[0]
    assert (first["dagster_run_id"], first["status"]) == (RUN_ID, "running")


def test_taking_over_from_the_dead_closes_their_attempt(database: Database, clock: FakeClock) -> None:
    begun(database, clock=clock)
    clock.advance(STALE_S + 1)

    begun(database, clock=clock, run=RESUMED)

    found = {
        one["dagster_run_id"]: (one["status"], one["end_reason"])
        for one in records(database, schema.run_attempts)
    }
    assert found == {
        RUN_ID: ("interrupted", "taken over by another attempt"),
        "resumed": ("running", None),
    }


def test_an_execution_that_ended_is_not_superseded(database: Database, clock: FakeClock) -> None:
    end(database, begun(database, clock=clock))
    before = records(database, schema.node_executions)

    begun(database, clock=clock)

    assert records(database, schema.node_executions)[0] == before[0]
