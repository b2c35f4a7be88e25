"""No query that a running node makes reads through a big table: SQLite's own plans say so, whatever the indexes are.

No statement is listed by hand: all are heard while a source, an llm step, a gate and sinks run, stop and resume.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.testing import FakeModelServer, Fault, Rule
from tests.support import Project, mood_pipeline, write_csv

BIG = (
    "rows", "tokens", "token_parents", "node_states", "calls", "routing_events", "token_outcomes", "batch_members",
    "batch_outputs", "validation_errors", "payloads", "row_salts", "request_keys", "coalesce_events",
)  # fmt: skip
ROWS = 60
SWEEPS = ("elspeth_dagster.landscape.invariants", "elspeth_dagster.landscape.verify")


def _is_a_sweep() -> bool:
    """Whether an invariant asks: these go through a whole run once, and are meant to."""
    callers = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    return any(name.startswith(SWEEPS) for name in callers)


@contextmanager
def statements_heard(path: Path) -> Iterator[dict[str, Any]]:
    """Every statement on this file, with parameters that it was sent with."""
    heard: dict[str, Any] = {}

    def hear(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: Any
    ) -> None:
        if connection.engine.url.database == str(path) and not _is_a_sweep():
            heard.setdefault(statement, parameters[0] if many else parameters)

    sa.event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(Engine, "before_cursor_execute", hear)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What a run says that is stopped in its llm step and resumed."""
    folder = tmp_path_factory.mktemp("plans")
    write_csv(
        folder / "in.csv",
        ["id", "text"],
        [["x" if index == 9 else index, f"row-{index}."] for index in range(ROWS)],
    )
    path = folder / "landscape.db"
    project = Project(folder, f"sqlite:///{path}")
    with FakeModelServer() as server, statements_heard(path) as statements:
        project.declare(mood_pipeline(server.base_url))
        server.change(rules=(Rule("row-40.", Fault.HTTP_401), Rule("row-3.", Fault.HTTP_400)))
        first = project.run()
        assert not first.success
        server.change(rules=(Rule("row-3.", Fault.HTTP_400),))
        assert project.run(resume=first.run_id).success
    return path, statements


def test_no_statement_of_a_run_reads_through_a_big_table(heard: tuple[Path, dict[str, Any]]) -> None:
    path, statements = heard
    questions = {
        statement: parameters
        for statement, parameters in statements.items()
        if re.match(
            r"\s*(SELECT|UPDATE|DELETE|WITH|INSERT INTO \w+ .*SELECT)", statement, re.IGNORECASE | re.DOTALL
        )
    }
    assert len(questions) > 15, "hardly anything was heard"
    database = Database(f"sqlite:///{path}")
    aliases = re.findall(rf"\b(?:{'|'.join(BIG)}) AS (\w+)", " ".join(questions))
    through = re.compile(rf"^SCAN ({'|'.join([*BIG, *aliases])})\b")

    slow = []
    with database.read() as connection:
        for statement, parameters in questions.items():
            for *_, step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                if through.match(str(step)):
                    slow.append(f"{step}: {statement}")
    database.dispose()

    assert not slow, "\n\n".join(slow)
