"""Registering a run: once, whoever comes first; again, only if it decides as before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import AuditConflictError, ConfigChangedError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.registration import NodeRegistration, RunRegistration, close_attempt, register
from elspeth_dagster.model.canonical import record_hash
from elspeth_dagster.model.clock import timestamp
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON
from tests.landscape.material import (
    EDGES,
    NODES,
    RUN,
    RUN_ID,
    FakeClock,
    all_alive,
    count_of,
    ended,
    node,
    other_run,
    other_try,
)


def known(database: Database, run: RunRegistration = RUN, *, clock: FakeClock) -> str:
    return register(database, run, clock=clock, end_of=all_alive)


def records(database: Database, table: sa.Table) -> list[sa.RowMapping]:
    with database.read() as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings())


def attempts(database: Database) -> list[tuple[int, str, str, str | None]]:
    table = schema.run_attempts
    with database.read() as connection:
        found = connection.execute(
            sa.select(table.c.attempt, table.c.dagster_run_id, table.c.status, table.c.end_reason).order_by(
                table.c.attempt
            )
        )
        return [(row.attempt, row.dagster_run_id, row.status, row.end_reason) for row in found]


def with_node(changed: NodeRegistration) -> RunRegistration:
    return replace(RUN, nodes=tuple(changed if one.node_id == changed.node_id else one for one in NODES))


# The run and its graph ----------------------------------------------------------------------------------------------


def test_a_run_is_registered_with_its_whole_graph(database: Database, clock: FakeClock) -> None:
    assert known(database, clock=clock) == "1f0c9a52"

    (run,) = records(database, schema.runs)
    assert (run["run_id"], run["run_key"], run["pipeline"]) == (RUN_ID, "1f0c9a52", "triage")
    assert run["started_at"] == timestamp(clock.now())
    assert run["spec_json"] == '{"name":"triage"}'
    assert {one["node_id"]: (one["kind"], one["sequence"]) for one in records(database, schema.nodes)} == {
        "source": ("csv", 0), "score": ("llm", 1), "sort": ("gate", 2), "good": ("jsonl", 3),
    }  # fmt: skip
    edges = {(one["from_node_id"], one["port"], one["to_node_id"]) for one in records(database, schema.edges)}
    assert edges == set(EDGES)


@pytest.mark.parametrize("table", [schema.runs, schema.nodes, schema.edges])
def test_what_was_registered_is_sealed(database: Database, clock: FakeClock, table: sa.Table) -> None:
    known(database, clock=clock)

    for record in records(database, table):
        assert record["record_hash"] == record_hash(table.name, [*record.values()][:-1])


def test_registering_again_adds_nothing(database: Database, clock: FakeClock) -> None:
    first = known(database, clock=clock)
    before = [records(database, table) for table in schema.EVIDENCE]
    clock.advance(60)

    again = known(database, clock=clock)

    assert again == first
    assert [records(database, table) for table in schema.EVIDENCE] == before


def test_many_processes_may_register_one_run_at_once(database: Database, clock: FakeClock) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: known(database, clock=clock), range(16)))

    assert set(keys) == {"1f0c9a52"}
    assert [count_of(database, table) for table in ("runs", "run_attempts", "nodes")] == [1, 1, 4]


def test_runs_that_begin_alike_get_keys_of_their_own(database: Database, clock: FakeClock) -> None:
    runs = [
        other_run(f"{RUN_ID}/2026-01-{day:02d}", partition_key=f"2026-01-{day:02d}") for day in range(1, 13)
    ]

    with ThreadPoolExecutor(4) as threads:
        keys = list(threads.map(lambda run: known(database, run, clock=clock), runs))

    assert sorted(keys, key=len) == [RUN_ID[:length] for length in range(8, 20)]
    assert [known(database, run, clock=clock) for run in runs] == keys  # fixed, once registered


def test_a_run_whose_own_id_is_anothers_key_still_gets_one(database: Database, clock: FakeClock) -> None:
    ids = ["partition/1", *(f"partition/1{letter}" for letter in "abcdefgh")]

    keys = [known(database, other_run(run_id), clock=clock) for run_id in reversed(ids)]

    assert len(set(keys)) == len(ids)


def test_a_key_with_signs_that_sql_knows_is_compared_as_it_is(database: Database, clock: FakeClock) -> None:
    assert known(database, other_run("%_%_%_%_1"), clock=clock) == "%_%_%_%_"
    assert known(database, other_run("aaaaaaaa1"), clock=clock) == "aaaaaaaa"
    assert known(database, other_run("%_%_%_%_2"), clock=clock) == "%_%_%_%_2"


# A changed declaration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        (
            with_node(node("score", "llm", prompt="How angry?")),
            'score.prompt was "How calm?", is "How angry?"',
        ),
        (with_node(node("score", "llm", prompt="How calm?", top_p=0.5)), "score.top_p was null, is 0.5"),
        (with_node(node("score", "llm")), 'score.prompt was "How calm?", is null'),
        (with_node(node("score", "map", prompt="How calm?")), 'score.kind was "llm", is "map"'),
        (
            with_node(node("score", "llm", prompt="How calm?", model={"name": "a"})),
            'score.model.name was null, is "a"',
        ),
        (replace(RUN, nodes=(*NODES, node("more"))), "node 'more' is new"),
        (replace(RUN, nodes=NODES[:-1]), "node 'good' is gone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_would_decide_otherwise_is_refused_with_the_difference(
    database: Database, clock: FakeClock, changed: RunRegistration, shown: str
) -> None:
    known(database, clock=clock)
    before = [records(database, table) for table in schema.EVIDENCE]

    with pytest.raises(ConfigChangedError) as refused:
        known(database, replace(changed, dagster_run_id="resumed"), clock=clock)

    assert shown in str(refused.value)
    assert RUN_ID in str(refused.value)
    assert [records(database, table) for table in schema.EVIDENCE] == before


@pytest.mark.parametrize(
    ("was", "becomes"), [(True, 1), (0, False), ("1", 1), ([1], [1, 1]), ({"a": 1}, {"b": 1})]
)
def test_values_that_only_python_takes_for_equal_are_a_change(
    database: Database, clock: FakeClock, was: JSON, becomes: JSON
) -> None:
    known(database, with_node(node("score", "llm", setting=was)), clock=clock)

    with pytest.raises(ConfigChangedError, match=r"score\.setting"):
        known(database, with_node(node("score", "llm", setting=becomes)), clock=clock)


@pytest.mark.parametrize(
    ("was", "becomes"), [(1, 1.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (1e20, 10**20 * 1.0)]
)
def test_values_that_are_the_same_json_are_no_change(
    database: Database, clock: FakeClock, was: JSON, becomes: JSON
) -> None:
    key = known(database, with_node(node("score", "llm", setting=was)), clock=clock)

    assert known(database, with_node(node("score", "llm", setting=becomes)), clock=clock) == key


def test_a_long_difference_is_shortened(database: Database, clock: FakeClock) -> None:
    known(database, with_node(node("score", "llm", prompt="x" * 500)), clock=clock)

    with pytest.raises(ConfigChangedError) as refused:
        known(database, with_node(node("score", "llm", prompt="y" * 500)), clock=clock)

    assert len(refused.value.what) < 250


def test_what_is_operational_may_change_and_is_kept_per_attempt(database: Database, clock: FakeClock) -> None:
    known(database, clock=clock)

    known(database, replace(RUN, dagster_run_id="resumed", operational={"pool_size": 9}), clock=clock)

    kept = {one["dagster_run_id"]: one["operational_json"] for one in records(database, schema.run_attempts)}
    assert kept == {RUN_ID: '{"pool_size":4}', "resumed": '{"pool_size":9}'}


# Attempts -----------------------------------------------------------------------------------------------------------


def test_attempts_are_numbered_and_closed_as_dagster_says(database: Database, clock: FakeClock) -> None:
    known(database, clock=clock)
    register(database, other_try(RUN, "second"), clock=clock, end_of=ended(**{RUN_ID: RunStatus.FAILED}))
    register(database, other_try(RUN, "third"), clock=clock, end_of=ended(second=RunStatus.INTERRUPTED))

    assert attempts(database) == [
        (1, RUN_ID, "failed", "followed by another attempt"),
        (2, "second", "interrupted", "followed by another attempt"),
        (3, "third", "running", None),
    ]


def test_an_attempt_that_may_still_live_is_not_closed_by_the_next(
    database: Database, clock: FakeClock
) -> None:
    known(database, clock=clock)

    known(database, other_try(RUN, "second"), clock=clock)

    assert [status for _, _, status, _ in attempts(database)] == ["running", "running"]


def test_an_attempt_closes_once(database: Database, clock: FakeClock) -> None:
    known(database, clock=clock)
    clock.advance(5)

    def close(status: RunStatus, reason: str) -> None:
        close_attempt(
            database, run_id=RUN_ID, dagster_run_id=RUN_ID, status=status, reason=reason, counts={"rows": 3},
            clock=clock,
        )  # fmt: skip

    close(RunStatus.COMPLETED, "done")
    close(RunStatus.FAILED, "too late")

    assert attempts(database) == [(1, RUN_ID, "completed", "done")]
    (attempt,) = records(database, schema.run_attempts)
    assert attempt["ended_at"] == timestamp(clock.now())
    assert attempt["counts_json"] == '{"rows":3}'
    assert attempt["record_hash"] == record_hash("run_attempts", [*attempt.values()][:-1])


def test_an_attempt_that_many_close_at_once_closes_once(database: Database, clock: FakeClock) -> None:
    known(database, clock=clock)

    def close(number: int) -> None:
        close_attempt(
            database, run_id=RUN_ID, dagster_run_id=RUN_ID, status=RunStatus.COMPLETED, reason=f"by {number}",
            counts=None, clock=clock,
        )  # fmt: skip

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(close, range(16)))

    assert [status for _, _, status, _ in attempts(database)] == ["completed"]


def test_closing_an_attempt_that_is_not_there_does_nothing(database: Database, clock: FakeClock) -> None:
    close_attempt(
        database,
        run_id="nobody",
        dagster_run_id="nobody",
        status=RunStatus.FAILED,
        reason="",
        counts=None,
        clock=clock,
    )

    assert count_of(database, "run_attempts") == 0


def test_a_node_that_is_named_twice_is_refused(database: Database, clock: FakeClock) -> None:
    with pytest.raises(AuditConflictError, match="of nodes is there already"):
        known(database, replace(RUN, nodes=(*NODES, node("score", "gate"))), clock=clock)

    assert count_of(database, "runs") == 0
