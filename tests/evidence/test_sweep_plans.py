"""Counting checks run after every run: none may read a whole table again for each row of another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.ending import outcome_of
from elspeth_dagster.landscape.invariants.finding import Examined
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.schema import tokens
from elspeth_dagster.landscape.verify import COUNTING
from tests.evidence.conftest import Copy
from tests.evidence.honest import RUN_ID

_FOR_EACH_ROW = re.compile(r"CORRELATED (SCALAR|LIST) SUBQUERY \d+")
_SCAN = re.compile(r"SCAN (?!CONSTANT|json_each)")


@contextmanager
def _heard(database: Database) -> Iterator[dict[str, Any]]:
    """The statements that are sent meanwhile, with their parameters."""
    heard: dict[str, Any] = {}

    def hear(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        heard.setdefault(statement, parameters)

    event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(database.engine, "before_cursor_execute", hear)


def _scans_for_each_row(database: Database, statement: str, parameters: Any) -> list[str]:
    """The steps of the plan that stand below a correlated subquery, and read through a table."""
    with closing(database.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = cursor.fetchall()
    inside: set[int] = set()
    found = []
    for step, parent, _, said in plan:
        if parent in inside or _FOR_EACH_ROW.match(said):
            inside.add(step)
        if parent in inside and _SCAN.match(said):
            found.append(said)
    return found


def test_no_counting_check_reads_a_table_through_for_each_row(copy: Copy) -> None:
    database = copy.database
    run = find_run(database, RUN_ID)
    examined = Examined(database, run, is_finished=True, witness=None)

    with _heard(database) as heard:
        for check in COUNTING.values():
            list(check(examined))
    selects = {sql: given for sql, given in heard.items() if sql.lstrip().startswith(("SELECT", "WITH"))}
    scans = {sql: _scans_for_each_row(database, sql, given) for sql, given in selects.items()}

    database.dispose()
    assert len(selects) > 20
    assert {sql: found for sql, found in scans.items() if found} == {}


def test_how_a_token_ended_is_found_by_an_index(copy: Copy) -> None:
    database = copy.database
    with _heard(database) as heard, database.read() as connection:
        outcome_of(connection, connection.execute(sa.select(tokens).limit(1)).one())

    (statement,) = [sql for sql in heard if "FROM token_outcomes" in sql]
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", heard[statement]).all()
    database.dispose()
    assert [said for *_, said in plan] == [
        "SEARCH token_outcomes USING INDEX uq_token_outcomes_terminal (token_id=?)"
    ]
