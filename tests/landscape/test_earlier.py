"""What earlier executions left: attempts, answers that were paid for, salts that were drawn."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.earlier import EarlierAnswer, earlier_answers, earlier_attempts, known_salts
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Record, Unit, closed
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import content_hash
from tests.landscape.material import NOW, SALT, FakeClock, begun, open_call, open_state, source_unit

ROWS = [ids.row_id("1f0c9a52", index) for index in range(3)]


def commit(database: Database, unit: Unit) -> None:
    with database.write() as connection:
        store(connection, unit)


def interrupted(handle: ExecutionHandle, index: int, *, attempt: int = 1) -> Record:
    state = open_state(handle, index, attempt=attempt)
    return closed("node_states", state, status="interrupted", completed_at=NOW)


def with_answer(unit: Unit, handle: ExecutionHandle, index: int, call_index: int, **changes: Any) -> None:
    """A call and the body that came back."""
    body = b'{"answer":%d}' % call_index
    digest = content_hash(SALT, body)
    call = open_call(handle, open_state(handle, index), call_index)
    unit.insert("payloads", (ROWS[index], digest, body))
    unit.insert(
        "calls",
        closed(
            "calls", call, **{"status": "answered", "response_hash": digest, "answered_at": NOW, **changes}
        ),
    )


@pytest.fixture
def score(database: Database, clock: FakeClock) -> ExecutionHandle:
    source = begun(database, clock=clock)
    commit(database, source_unit(source, range(3)))
    return begun(database, "score", clock=clock)


def test_attempts_are_counted_per_token_at_this_node(
    database: Database, score: ExecutionHandle, clock: FakeClock
) -> None:
    sort = begun(database, "sort", clock=clock)
    unit = Unit()
    for record in (
        interrupted(score, 0),
        interrupted(score, 0, attempt=2),
        interrupted(score, 1),
        interrupted(sort, 2),
    ):
        unit.insert("node_states", record)
    commit(database, unit)

    assert earlier_attempts(database, "score", ROWS) == {ROWS[0]: 2, ROWS[1]: 1}
    assert earlier_attempts(database, "score", ROWS[1:]) == {ROWS[1]: 1}
    assert earlier_attempts(database, "score", []) == {}


def test_answers_come_back_in_the_order_of_the_tries_with_their_bodies(
    database: Database, score: ExecutionHandle
) -> None:
    unit = Unit()
    unit.insert("node_states", interrupted(score, 0))
    with_answer(unit, score, 0, 1, prompt_tokens=7, model_answered="fake-2")
    with_answer(unit, score, 0, 0, http_status=200)
    commit(database, unit)

    found = earlier_answers(database, "score", ROWS)

    assert list(found) == [ROWS[0]]
    assert [(answer.try_no, answer.body) for answer in found[ROWS[0]]] == [
        (1, b'{"answer":0}'),
        (2, b'{"answer":1}'),
    ]
    assert found[ROWS[0]][1] == EarlierAnswer(
        call_id=f"{ROWS[0]}@score#1",
        query="answer",
        try_no=2,
        model_answered="fake-2",
        http_status=None,
        request_hash=content_hash(SALT, b"ask"),
        response_hash=content_hash(SALT, b'{"answer":1}'),
        template_hash=None,
        variables_hash=None,
        prompt_tokens=7,
        completion_tokens=None,
        body=b'{"answer":1}',
    )


def test_only_answers_count_and_each_once(database: Database, score: ExecutionHandle) -> None:
    unit = Unit()
    for index in (0, 1):
        unit.insert("node_states", interrupted(score, index))
    with_answer(unit, score, 0, 0)
    with_answer(unit, score, 0, 1, status="failed")
    with_answer(unit, score, 0, 2, status="unknown")
    unit.insert("calls", open_call(score, open_state(score, 0), 3))
    commit(database, unit)
    taken_over = Unit()
    with_answer(taken_over, score, 1, 0, reused_from=f"{ROWS[0]}@score#0")
    commit(database, taken_over)

    found = earlier_answers(database, "score", ROWS)

    assert {token: [answer.call_id for answer in answers] for token, answers in found.items()} == {
        ROWS[0]: [f"{ROWS[0]}@score#0"],
    }


def test_an_answer_whose_body_was_purged_is_there_without_it(
    database: Database, score: ExecutionHandle
) -> None:
    unit = Unit()
    unit.insert("node_states", interrupted(score, 0))
    with_answer(unit, score, 0, 0)
    commit(database, unit)
    with database.write() as connection:
        connection.execute(sa.delete(schema.payloads))

    (answer,) = earlier_answers(database, "score", ROWS)[ROWS[0]]

    assert answer.body is None
    assert answer.response_hash == content_hash(SALT, b'{"answer":0}')


def test_an_answer_at_another_node_is_none_of_this_one(database: Database, score: ExecutionHandle) -> None:
    unit = Unit()
    unit.insert("node_states", interrupted(score, 0))
    with_answer(unit, score, 0, 0)
    commit(database, unit)

    assert earlier_answers(database, "sort", ROWS) == {}
    assert earlier_answers(database, "score", ROWS[1:]) == {}


def test_salts_are_drawn_once(database: Database, score: ExecutionHandle) -> None:
    assert known_salts(database, [*ROWS[1:], "not yet drawn"]) == {ROWS[1]: SALT, ROWS[2]: SALT}
    assert known_salts(database, []) == {}
