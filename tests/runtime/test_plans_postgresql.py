"""PostgreSQL knows nothing of tables that a run is filling, and yet each page and each look-up goes by an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from tests.every_kind import every_kind
from tests.noderuns import node_runs
from tests.postgres import Postgres

BIG = {
    "rows", "tokens", "token_parents", "node_states", "calls", "routing_events", "token_outcomes", "batch_members",
    "batch_outputs", "validation_errors", "payloads", "row_salts", "coalesce_events",
}  # fmt: skip


class Plans:
    """The plan of every query that a run makes while PostgreSQL is kept to indexes, made where the query is made."""

    def __init__(self, database: Database) -> None:
        self.of: dict[str, dict[str, Any]] = {}
        self._engine = database.engine
        self._asks = False

    def __enter__(self) -> Self:
        sa.event.listen(self._engine, "before_cursor_execute", self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "before_cursor_execute", self._ask)

    def _ask(self, connection: Connection, _cursor: Any, statement: str, given: Any, *_: object) -> None:
        if self._asks or not statement.startswith("SELECT") or statement in self.of:
            return
        self._asks = True
        try:
            if connection.exec_driver_sql("SHOW enable_seqscan").scalar() == "off":
                plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", given).scalar_one()
                self.of[statement] = plan[0]["Plan"]
        finally:
            self._asks = False


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from steps(below)


def condition(step: dict[str, Any]) -> str:
    """By what the index is asked; of a heap that is read by a bitmap, what the index below it is asked."""
    below = " ".join(condition(one) for one in step.get("Plans", ()))
    return f"{step.get('Index Cond', '')} {below}".strip()


@pytest.fixture(scope="module")
def plans(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """The plans of a run, by a database that knows all about the run before, and nothing about this one."""
    folder = tmp_path_factory.mktemp("plans")
    url = postgres.ready()
    with node_runs(folder, every_kind(folder, rows=40), url=url) as run:
        run.run()
        with run.database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("DELETE FROM leases")
        run.run_id = "33334444-run"
        with Plans(run.database) as heard:
            run.run()
            run.run()  # everything again: who is done is looked up
    yield heard.of
    postgres.take_back(url)


def test_no_big_table_is_read_through(plans: dict[str, dict[str, Any]]) -> None:
    assert len(plans) > 10, "hardly anything was heard"
    through = [
        f"{step['Node Type']} {step['Relation Name']}: {statement}"
        for statement, plan in plans.items()
        for step in steps(plan)
        if step.get("Relation Name") in BIG and not condition(step)
    ]

    assert not through, "\n\n".join(through)


def test_each_page_comes_in_an_indexs_order(plans: dict[str, dict[str, Any]]) -> None:
    paged = {statement: plan for statement, plan in plans.items() if "LIMIT" in statement}
    assert len(paged) > 4, "hardly any page was heard"

    assert not [
        statement
        for statement, plan in paged.items()
        if any(step["Node Type"] == "Sort" for step in steps(plan))
    ]


def test_what_is_joined_is_looked_up_by_its_key(plans: dict[str, dict[str, Any]]) -> None:
    inner = [
        (statement, step)
        for statement, plan in plans.items()
        for join in steps(plan)
        if join["Node Type"] == "Nested Loop"
        for step in steps(join["Plans"][1])
        if step.get("Relation Name") in BIG
    ]
    assert len(inner) > 10, "hardly anything was joined"

    of_other = re.compile(r"= \(?\w+\.\w+")
    by_itself = [statement for statement, step in inner if not of_other.search(condition(step))]
    assert not by_itself, "\n\n".join(by_itself)
