"""The balance of nodes and runs, and the small reads beside it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.balance import NodeBalance, node_balance, run_balance, source_balance
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.queries import error_details, violations_of
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.waiting import Feed, Waiting, waiting_tokens
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.row import JSON
from tests.landscape.material import (
    RUN_ID,
    SALT,
    FakeClock,
    begun,
    done_state,
    open_state,
    other_run,
    outcome,
    source_unit,
)

FROM_SOURCE = Feed("source", "out", is_source=True)
ROWS = [ids.row_id("1f0c9a52", index) for index in range(8)]


def commit(database: Database, *units: Unit) -> None:
    with database.write() as connection:
        for unit in units:
            store(connection, unit)


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    """Eight rows: six go on, one is quarantined in a sink, one is discarded."""
    handle = begun(database, clock=clock)
    commit(
        database,
        source_unit(handle, range(6)),
        source_unit(handle, [6], port="invalid"),
        source_unit(handle, [7], port=None),
    )
    return handle


def test_a_source_balances_rows_and_tokens(database: Database, source: ExecutionHandle) -> None:
    found = source_balance(database, run_id=RUN_ID, node_id="source")

    assert found == NodeBalance(arrived=8, completed=6, failed=2, waiting=0, by_port={"out": 6, "invalid": 2})
    assert found.holds


def test_a_row_without_its_token_unbalances_a_source(database: Database, source: ExecutionHandle) -> None:
    lone = source_unit(source, [100])
    del lone.inserts["tokens"]
    commit(database, lone)

    assert not source_balance(database, run_id=RUN_ID, node_id="source").holds


def test_a_node_balances_what_came_with_what_left_and_waits(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    sort = begun(database, "sort", clock=clock)
    unit = Unit()
    for index, port in ((0, "urgent"), (1, "other"), (2, "other")):
        unit.insert("node_states", done_state(sort, index, port=port))
    unit.insert("node_states", done_state(sort, 3, port=None, status="failed"))
    unit.insert("node_states", open_state(sort, 4))
    commit(database, unit)

    found = node_balance(database, run_id=RUN_ID, node_id="sort", feeds=[FROM_SOURCE])

    assert found == NodeBalance(
        arrived=6, completed=3, failed=1, waiting=2, by_port={"urgent": 1, "other": 2}
    )
    assert found.holds


def test_a_node_that_worked_on_what_never_came_does_not_balance(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    sort = begun(database, "sort", clock=clock)
    unit = Unit()
    unit.insert("node_states", done_state(sort, 6))  # quarantined: it never reached this node
    commit(database, unit)

    assert not node_balance(database, run_id=RUN_ID, node_id="sort", feeds=[FROM_SOURCE]).holds


def test_a_run_balances_tokens_and_outcomes(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    other = begun(database, clock=clock, run=other_run("2e0c9a52-0000", pipeline="another"))
    unit = source_unit(other, range(3))
    for index, word in enumerate(["completed", "completed", "failed", "buffered", "discarded"]):
        unit.insert("token_outcomes", outcome(source, index, word))
    commit(database, unit)

    found = run_balance(database, RUN_ID)

    assert found.created == 8
    assert found.outcomes == {"completed": 2, "failed": 1, "discarded": 1}
    assert found.waiting == 4


def test_a_run_that_nobody_knows_is_empty(database: Database) -> None:
    found = run_balance(database, "nobody")

    assert (found.created, found.outcomes, found.waiting) == (0, {}, 0)


# Reads beside it ----------------------------------------------------------------------------------------------------


def test_every_violation_of_a_row_is_found_in_its_order(database: Database, source: ExecutionHandle) -> None:
    unit = Unit()
    for number, (row, field, code) in enumerate(
        [(6, "amount", "wrong_type"), (6, None, "extra_field"), (7, "id", "missing_field")]
    ):
        unit.insert(
            "validation_errors",
            sealed(
                "validation_errors", f"{ROWS[row]}?{number}", RUN_ID, ROWS[row], field, "int", "text", code,
                source.execution_id,
            ),
        )  # fmt: skip
    commit(database, unit)

    found = violations_of(database, ROWS[:7])

    assert found == {
        ROWS[6]: [
            {"field": "amount", "expected": "int", "actual": "text", "code": "wrong_type"},
            {"field": None, "expected": "int", "actual": "text", "code": "extra_field"},
        ]
    }
    assert violations_of(database, []) == {}


def test_the_details_of_failed_tokens_are_found_until_they_are_purged(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    score = begun(database, "score", clock=clock)
    detail = canonical_bytes({"message": "The provider said no.", "weight": 1e20})
    digest = content_hash(SALT, detail)
    unit = Unit()
    unit.insert("payloads", (ROWS[0], digest, detail))
    errors: list[dict[str, JSON]] = [{"code": "refused", "detail_hash": digest.hex()}, {"code": "bare"}]
    for index, error in enumerate(errors):
        unit.insert("node_states", done_state(score, index, port="error", status="failed", error=error))
    commit(database, unit)
    tokens = list(
        waiting_tokens(database, Waiting(RUN_ID, "good", [Feed("score", "error", is_source=False)]))
    )

    found = error_details(database, tokens)

    assert found == {ROWS[0]: {"message": "The provider said no.", "weight": 1e20}}
    with database.write() as connection:
        connection.execute(sa.delete(schema.payloads))
    assert error_details(database, tokens) == {}
