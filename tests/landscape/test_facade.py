"""`Landscape.open` answers every question about a run, page by page, and can write nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import Direction, Landscape
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.lineage import Link
from elspeth_dagster.landscape.paging import Page
from elspeth_dagster.landscape.read_only import ReadOnlyDatabase
from elspeth_dagster.landscape.states import StateRecord
from elspeth_dagster.model.outcome import BatchTrigger, Relation, StateStatus
from tests.landscape.family import Family, make_family

ROWS = 7
LOST = (2, 5)


@pytest.fixture
def family(database: Database) -> Family:
    return make_family(database, ROWS, lost=LOST)


@pytest.fixture
def landscape(family: Family, url: str) -> Iterator[Landscape]:
    with Landscape.open(url) as opened:
        yield opened


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE fences SET heartbeat_at = 'x'",
        "DELETE FROM payloads",
        "CREATE TABLE extra (x INTEGER)",
        "INSERT INTO pool_members VALUES ('a', 'b', 1, 'c')",
    ],
)
def test_nothing_can_be_written_through_it(landscape: Landscape, sql: str) -> None:
    with (
        pytest.raises((LandscapeError, DBAPIError), match=r"readonly|read-only"),
        landscape.database.read() as connection,
    ):
        connection.exec_driver_sql(sql)
    with pytest.raises(LandscapeError, match="opened to be read"), landscape.database.write():
        pass


def test_a_landscape_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match="no Landscape here"):
        Landscape.open(f"sqlite:///{tmp_path}/none.db")


def test_a_path_with_odd_characters_is_opened(tmp_path: Path) -> None:
    file = sa.URL.create("sqlite", database=str(tmp_path / "100% o?f #1.db")).render_as_string()
    made = Database(file)
    made.ensure_schema()
    made.dispose()
    with Landscape.open(file) as landscape:
        assert landscape.runs() == ()


def test_an_archive_in_a_folder_that_cannot_be_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'landscape.db'}")
    database.ensure_schema()
    key = make_family(database, 1).key
    database.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["landscape.db"]
    # Root can write everywhere: what stands in the way of a log's index does what a read-only folder does.
    (tmp_path / "landscape.db-shm").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode == os.W_OK))

    with Landscape.open(f"sqlite:///{tmp_path / 'landscape.db'}") as landscape:
        assert [one.run.run_key for one in landscape.runs_page()] == [key]

    (tmp_path / "landscape.db-wal").touch()
    not_at_rest = ReadOnlyDatabase(f"sqlite:///{tmp_path / 'landscape.db'}")
    assert "immutable" not in not_at_rest.engine.url.query, "the log's records would be left out"
    not_at_rest.dispose()


def test_the_documented_example_works_as_it_is_printed(
    url: str, family: Family, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reading.md").read_text("utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    for printed, here in (
        ("sqlite:///.elspeth/landscape.db", url),
        ("1f0c9a52/totals#3/0", family.output_id),
        ("1f0c9a52", family.key),
        (", 42)", ", 1)"),
    ):
        assert printed in example
        example = example.replace(printed, here)

    exec(compile(example, "docs/reading.md", "exec"), {})  # noqa: S102 - our own page

    said = capsys.readouterr().out.splitlines()
    assert f"{family.row_id(1)} forked" in said
    assert f"{family.output_id} batch {family.merged_id(1)}" in said
    assert f"{family.row_id(1)}/mood fork {family.row_id(1)}" in said, "to the source's rows"
    assert sum("branches_arrived" in line for line in said) >= ROWS


# States --------------------------------------------------------------------------------------------------------------


def test_pages_of_states_put_together_are_all_states_in_row_order(
    landscape: Landscape, family: Family
) -> None:
    every = list(landscape.every_node_state(family.key))
    paged: list[StateRecord] = []
    after, pages = None, 0
    while True:
        page = landscape.get_node_states(family.key, after=after, limit=5)
        paged += page.items
        pages += 1
        if page.next is None:
            break
        after = page.next
    assert paged == every
    assert pages > 5
    with family.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM node_states").scalar_one()
    assert len(every) == stored == len({one.state_id for one in every})


def test_states_are_filtered_by_node_token_and_status(landscape: Landscape, family: Family) -> None:
    failed = landscape.get_node_states(family.key, status=StateStatus.FAILED)
    assert [one.token_id for one in failed] == [f"{family.row_id(index)}/urgency" for index in LOST]
    assert failed.items[0].error == {"code": "invalid_json"}
    at_join = landscape.get_node_states(family.key, node_id="judged", token_id=family.merged_id(0))
    (merged,) = at_join
    assert merged.context_after is not None
    assert merged.context_after["coalesce"]["branches_arrived"] == ["mood", "urgency"]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    "which",
    [{}, {"node_id": "mood"}, {"node_id": "mood", "status": StateStatus.COMPLETED}]
    + [{"status": status} for status in StateStatus]
    + [{"token_id": "x"}, {"token_id": "x", "node_id": "mood", "status": StateStatus.FAILED}],
)
def test_a_page_of_states_costs_the_same_in_a_run_of_any_size(tmp_path: Path, which: dict[str, Any]) -> None:
    """SQLite says so itself: it looks each question up in an index, and sorts nothing but what is equal there."""
    url = f"sqlite:///{tmp_path / 'landscape.db'}"
    database = Database(url)
    database.ensure_schema()
    key = make_family(database, ROWS, lost=LOST).key
    database.dispose()
    with Landscape.open(url) as landscape:
        plans = list(_plans_of_two_pages(landscape, key, which))
    assert plans
    for statement, plan in plans:
        assert not [step for step in plan if step.startswith("SCAN node_states")], plan
        sorts = [step for step in plan if "TEMP B-TREE" in step]
        is_few = "token_id = " in statement or "status = 'open'" in statement  # as many as are in flight
        assert is_few or all("LAST TERM" in step or "RIGHT PART" in step for step in sorts), plan


def _plans_of_two_pages(
    landscape: Landscape, key: str, which: dict[str, Any]
) -> Iterator[tuple[str, list[str]]]:
    heard: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    engine = landscape.database.engine
    sa.event.listen(engine, "before_cursor_execute", hear)
    first = landscape.get_node_states(key, limit=2, **which)
    if first.next is not None:
        landscape.get_node_states(key, limit=2, after=first.next, **which)
    sa.event.remove(engine, "before_cursor_execute", hear)
    with landscape.database.read() as connection:
        for statement, parameters in heard:
            if "FROM node_states" in statement:
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                yield statement, [str(step[-1]) for step in steps]


@pytest.mark.parametrize("limit", [0, -1, 1_001, True])
def test_a_page_has_a_bound(landscape: Landscape, family: Family, limit: int) -> None:
    with pytest.raises(LandscapeError, match="1 to 1,000"):
        landscape.get_node_states(family.key, limit=limit)


@pytest.mark.parametrize("after", ["", "x", "bm90IGpzb24", "WzEsMl0", "WyJ6eiIsICJ4Il0", "é"])
def test_a_cursor_of_another_question_is_refused(landscape: Landscape, family: Family, after: str) -> None:
    with pytest.raises(LandscapeError, match="cursor"):
        landscape.get_node_states(family.key, after=after)


# Lineage -------------------------------------------------------------------------------------------------------------


def test_lineage_leads_from_an_output_to_every_source_row_and_back(
    landscape: Landscape, family: Family
) -> None:
    up = list(landscape.lineage(family.output_id))
    assert {link.parent_token_id for link in up} >= {family.row_id(index) for index in range(ROWS)}
    relations = [link.relation for link in up]
    assert relations.count(Relation.BATCH) == ROWS
    assert relations.count(Relation.JOIN) == relations.count(Relation.FORK) == 2 * ROWS - len(LOST)
    down = list(landscape.lineage(family.row_id(3), Direction.CHILDREN))
    assert [link.token_id for link in down] == [
        f"{family.row_id(3)}/mood",
        f"{family.row_id(3)}/urgency",
        family.merged_id(3),
        family.merged_id(3),
        family.output_id,
    ]


def test_a_link_that_is_reached_twice_is_given_once(landscape: Landscape, family: Family) -> None:
    up = list(landscape.lineage(family.output_id))
    assert len(up) == len(set(up))


def test_pages_of_lineage_put_together_are_all_of_it(landscape: Landscape, family: Family) -> None:
    def pages(direction: Direction, token_id: str) -> Iterator[Page[Link]]:
        after = None
        while True:
            page = landscape.lineage_page(token_id, direction, after=after, limit=3)
            yield page
            if page.next is None:
                return
            after = page.next

    for direction, token_id in (
        (Direction.PARENTS, family.output_id),
        (Direction.CHILDREN, family.row_id(0)),
    ):
        paged = [link for page in pages(direction, token_id) for link in page]
        assert paged == list(landscape.lineage(token_id, direction))


def test_a_circle_of_parents_ends(landscape: Landscape, family: Family) -> None:
    family.parent(family.row_id(0), family.output_id, 0, "adopted", "source")
    family.store()
    up = list(landscape.lineage(family.output_id))
    assert Link(family.row_id(0), family.output_id, Relation.ADOPTED, 0) in up


# Joins, batches, balance ---------------------------------------------------------------------------------------------


def test_joins_say_what_arrived_and_what_was_lost(landscape: Landscape, family: Family) -> None:
    first = landscape.coalesce_events(family.key, limit=3)
    rest = landscape.coalesce_events(family.key, after=first.next)
    assert len(first) + len(rest) == ROWS
    assert rest.next is None
    lost = [one for one in (*first, *rest) if one.metadata["branches_lost"]]
    assert [one.parent_token_id for one in lost] == [family.row_id(index) for index in LOST]
    assert landscape.coalesce_events(family.key, node_id="other").items == ()


def test_batches_name_their_trigger_members_and_outputs(landscape: Landscape, family: Family) -> None:
    (batch,) = landscape.batches(family.key)
    assert (batch.trigger, batch.member_count, batch.output_count) == (BatchTrigger.END_OF_SOURCE, ROWS, 1)
    first = landscape.batch_members(batch.batch_id, limit=4)
    rest = landscape.batch_members(batch.batch_id, after=first.next, limit=4)
    assert [one.row_index for one in (*first, *rest)] == list(range(ROWS))
    (output,) = landscape.batch_outputs(batch.batch_id)
    assert (output.token_id, output.row_index) == (family.output_id, None)


def test_the_balance_counts_created_and_ended_tokens(landscape: Landscape, family: Family) -> None:
    balance = landscape.balance(family.key)
    assert balance.created == ROWS * 4 + 1
    assert balance.waiting == 0
    assert balance.outcomes["consumed_in_batch"] == ROWS
    assert list(balance.nodes) == ["source", "views", "mood", "urgency", "judged", "totals", "out"]


def test_every_answer_about_an_unknown_run_names_those_that_are_there(
    landscape: Landscape, family: Family
) -> None:
    with pytest.raises(LandscapeError, match=family.key):
        landscape.balance("nope")
