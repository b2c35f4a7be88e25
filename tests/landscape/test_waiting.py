"""Who waits for a node: all of them, once, in order, whatever the pages and however many ports feed it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Literal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.waiting import Feed, Waiting, count_waiting, waiting_tokens
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.token import Token
from tests.landscape.material import (
    NOW,
    RUN_ID,
    SALT,
    FakeClock,
    begun,
    done_state,
    open_state,
    other_run,
    row_of,
    source_unit,
)

Visit = Literal["none", "open", "interrupted", "completed", "failed"]

FROM_SOURCE = Feed("source", "out", is_source=True)
URGENT = Feed("sort", "urgent", is_source=False)
OTHER = Feed("sort", "other", is_source=False)
ERRORS = Feed("score", "error", is_source=False)

numbers = count(1)


def commit(database: Database, *units: Unit) -> None:
    with database.write() as connection:
        for unit in units:
            store(connection, unit)


def visits(handle: ExecutionHandle, indices: Iterable[int], *, port: str | None) -> Unit:
    unit = Unit()
    for index in indices:
        unit.insert("node_states", done_state(handle, index, port=port))
    return unit


def indices_of(tokens: Iterable[Token]) -> list[int]:
    return [int.from_bytes(token.order_key, "big") for token in tokens]


def waiting(
    database: Database, *feeds: Feed, node: str = "good", page: int = 1000, done: bool = False
) -> list[int]:
    of = Waiting(RUN_ID, node, feeds, include_done=done)
    found = indices_of(waiting_tokens(database, of, page_tokens=page))
    assert count_waiting(database, of) == len(found)
    return found


@pytest.fixture
def source(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, clock=clock)


@pytest.fixture
def sort(database: Database, clock: FakeClock) -> ExecutionHandle:
    return begun(database, "sort", clock=clock)


@pytest.mark.parametrize("page", [1, 3, 5, 10, 11])
def test_every_row_of_a_source_waits_once_in_order(
    database: Database, source: ExecutionHandle, page: int
) -> None:
    commit(database, source_unit(source, [7, 300, 0, 255, 256, 1, 4, 3, 2, 65_536]))

    found = waiting(database, FROM_SOURCE, node="score", page=page)

    assert found == [0, 1, 2, 3, 4, 7, 255, 256, 300, 65_536]


def test_a_token_brings_along_what_its_node_works_with(database: Database, source: ExecutionHandle) -> None:
    commit(database, source_unit(source, [5]))
    body = canonical_bytes(row_of(5))

    (token,) = waiting_tokens(database, Waiting(RUN_ID, "score", [FROM_SOURCE]))

    row_id = ids.row_id("1f0c9a52", 5)
    assert token == Token(
        row_id, row_id, ids.row_order_key(5), row_id, SALT, "out", "source", content_hash(SALT, body), body
    )


def test_a_token_brings_the_row_that_the_node_before_made(
    database: Database, source: ExecutionHandle, sort: ExecutionHandle
) -> None:
    made = canonical_bytes({"id": 5, "mood": "calm"})
    digest = content_hash(SALT, made)
    unit = source_unit(source, [5])
    unit.insert("payloads", (ids.row_id("1f0c9a52", 5), digest, made))
    unit.insert("node_states", done_state(sort, 5, port="urgent", output=digest))
    commit(database, unit)

    (token,) = waiting_tokens(database, Waiting(RUN_ID, "good", [URGENT]))

    assert (token.body, token.row_hash, token.port, token.from_node_id) == (made, digest, "urgent", "sort")


def test_a_failed_row_waits_at_the_error_port_with_the_row_that_came_in(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    score = begun(database, "score", clock=clock)
    unit = source_unit(source, [5, 6])
    unit.insert(
        "node_states", done_state(score, 5, port="error", status="failed", error={"code": "invalid_json"})
    )
    unit.insert("node_states", done_state(score, 6, port=None, status="failed", error={"code": "kept"}))
    commit(database, unit)

    (token,) = waiting_tokens(database, Waiting(RUN_ID, "good", [ERRORS]))

    assert token.body == canonical_bytes(row_of(5))
    assert token.error_json == '{"code":"invalid_json"}'


def test_quarantined_rows_wait_at_their_own_port_only(database: Database, source: ExecutionHandle) -> None:
    commit(
        database,
        source_unit(source, [0, 3]),
        source_unit(source, [1], port="invalid"),
        source_unit(source, [2], port=None),
    )

    assert waiting(database, FROM_SOURCE, node="score") == [0, 3]
    assert waiting(database, Feed("source", "invalid", is_source=True)) == [1]


@pytest.mark.parametrize("page", [1, 2, 4, 100])
def test_tokens_of_several_ports_come_as_one_in_order(
    database: Database, source: ExecutionHandle, sort: ExecutionHandle, page: int
) -> None:
    commit(
        database,
        source_unit(source, range(10)),
        visits(sort, [0, 1, 5, 8], port="urgent"),
        visits(sort, [2, 3, 4, 6, 9], port="other"),
        visits(sort, [7], port=None),
    )

    assert waiting(database, URGENT, OTHER, page=page) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert waiting(database, URGENT, page=page) == [0, 1, 5, 8]
    assert waiting(database, page=page) == []


def test_what_a_node_has_finished_with_waits_no_more(
    database: Database, source: ExecutionHandle, sort: ExecutionHandle, clock: FakeClock
) -> None:
    good = begun(database, "good", clock=clock)
    unit = visits(sort, range(5), port="urgent")
    unit.insert("node_states", done_state(good, 0, port=None))
    unit.insert("node_states", done_state(good, 1, port=None, status="failed"))
    unit.insert("node_states", open_state(good, 2))
    unit.insert(
        "node_states", closed("node_states", open_state(good, 3), status="interrupted", completed_at=NOW)
    )
    commit(database, source_unit(source, range(5)), unit)

    assert waiting(database, URGENT) == [2, 3, 4]
    assert waiting(database, URGENT, done=True) == [0, 1, 2, 3, 4]


def test_pages_go_on_while_the_node_finishes_with_what_it_got(
    database: Database, source: ExecutionHandle, sort: ExecutionHandle, clock: FakeClock
) -> None:
    good = begun(database, "good", clock=clock)
    commit(database, source_unit(source, range(7)), visits(sort, range(7), port="urgent"))

    found = []
    for token in waiting_tokens(database, Waiting(RUN_ID, "good", [URGENT]), page_tokens=2):
        found.append(token)
        commit(database, visits(good, indices_of([token]), port=None))

    assert indices_of(found) == list(range(7))
    assert waiting(database, URGENT) == []


def test_runs_do_not_see_each_others_tokens(
    database: Database, source: ExecutionHandle, clock: FakeClock
) -> None:
    other = begun(database, clock=clock, run=other_run("2e0c9a52-0000", pipeline="another"))
    commit(database, source_unit(source, [0, 1]), source_unit(other, [2]))

    assert waiting(database, FROM_SOURCE, node="score") == [0, 1]


@pytest.mark.parametrize("table", ["payloads", "row_salts"])
def test_a_token_whose_body_was_purged_is_an_error_that_names_it(
    database: Database, source: ExecutionHandle, table: str
) -> None:
    commit(database, source_unit(source, range(3)))
    purged = schema.metadata.tables[table]
    with database.write() as connection:
        connection.execute(sa.delete(purged).where(purged.c.salt_id == ids.row_id("1f0c9a52", 1)))
    found: list[Token] = []

    with pytest.raises(LandscapeError, match="1f0c9a52-000000001 was purged") as refused:
        found.extend(waiting_tokens(database, Waiting(RUN_ID, "score", [FROM_SOURCE])))

    assert "start a new run" in str(refused.value)
    assert indices_of(found) == [0]
    assert count_waiting(database, Waiting(RUN_ID, "score", [FROM_SOURCE])) == 3


def test_without_bodies_purged_tokens_still_count(database: Database, source: ExecutionHandle) -> None:
    commit(database, source_unit(source, range(3)))
    with database.write() as connection:
        connection.execute(sa.delete(schema.payloads))

    found = list(waiting_tokens(database, Waiting(RUN_ID, "score", [FROM_SOURCE]), with_bodies=False))

    assert indices_of(found) == [0, 1, 2]
    assert {(token.body, token.salt) for token in found} == {(b"", b"")}


journeys = st.lists(
    st.tuples(
        st.sampled_from(["urgent", "other", None]),
        st.sampled_from(["none", "open", "interrupted", "completed", "failed"]),
    ),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(journeys=journeys, page=st.integers(1, 5), done=st.booleans())
def test_who_waits_is_who_left_a_port_and_was_not_finished_with(
    database: Database,
    clock: FakeClock,
    journeys: list[tuple[str | None, Visit]],
    page: int,
    *,
    done: bool,
) -> None:
    run_id = f"{next(numbers):08d}"
    run = other_run(run_id, pipeline=run_id)
    source, sort, good = (begun(database, node, clock=clock, run=run) for node in ("source", "sort", "good"))
    unit = source_unit(source, range(len(journeys)))
    for index, (port, visit) in enumerate(journeys):
        unit.insert("node_states", done_state(sort, index, port=port))
        if visit == "open":
            unit.insert("node_states", open_state(good, index))
        elif visit != "none":
            unit.insert("node_states", done_state(good, index, port=None, status=visit))
    commit(database, unit)
    of = Waiting(run_id, "good", [URGENT, OTHER], include_done=done)

    found = indices_of(waiting_tokens(database, of, page_tokens=page))

    assert found == [
        index
        for index, (port, visit) in enumerate(journeys)
        if port is not None and (done or visit not in {"completed", "failed"})
    ]
    assert count_waiting(database, of) == len(found)
