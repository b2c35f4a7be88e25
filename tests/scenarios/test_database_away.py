"""While the Landscape is away no call leaves; what is in flight is kept and recorded on its return."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, ExceptionContext

from elspeth_dagster.landscape import engine as engine_module
from elspeth_dagster.landscape import patience
from elspeth_dagster.landscape.engine import WRITE_OPTION
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.postgres import Postgres, running_postgres
from tests.support import Project, mood_pipeline, write_csv

ROWS = 120
POOL = 8
NODES = 7
ANSWERED_BEFORE = 40
FAILURES_SEEN = 4


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much patience as ever, with shorter waits."""
    monkeypatch.setattr(patience, "WAIT_S", 0.01)
    monkeypatch.setattr(patience, "WAIT_S_MAX", 0.05)
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_MS", 20)


@contextmanager
def listening(name: str, heard: Callable[..., None]) -> Iterator[None]:
    """Hear an event of every engine, whoever makes it."""
    sa.event.listen(Engine, name, heard)
    try:
        yield
    finally:
        sa.event.remove(Engine, name, heard)


class Outage:
    """Takes the database away in the middle of the llm node, and brings it back after a few vain tries."""

    def __init__(
        self, server: FakeModelServer, dialect: str, *, take: Callable[[], object], give: Callable[[], object]
    ) -> None:
        self._server = server
        self._dialect = dialect
        self._take, self._give = take, give
        self._failures = 0
        self.is_away = False
        self.requests_on_return: int | None = None

    def before_a_write(self, connection: Connection, options: Mapping[str, object]) -> None:
        if (
            WRITE_OPTION not in options
            or connection.dialect.name != self._dialect
            or self.requests_on_return is not None
        ):
            return
        if not self.is_away and self._server.stats().answered >= ANSWERED_BEFORE:
            self.is_away = True
            self._take()

    def on_failure(self, context: ExceptionContext) -> None:
        if not self.is_away or context.dialect.name != self._dialect:
            return
        self._failures += 1
        if self._failures == FAILURES_SEEN:
            self.is_away = False
            self.requests_on_return = self._server.stats().requests
            self._give()


def _complete_in_spite_of(outage: Outage, project: Project, server: FakeModelServer) -> None:
    with (
        listening("set_connection_execution_options", outage.before_a_write),
        listening("handle_error", outage.on_failure),
    ):
        result = project.run()

    assert result.success
    assert outage.requests_on_return is not None, "the database was never away"
    # What had a durable intent may leave, at most a pool of them; nothing else does.
    assert outage.requests_on_return <= ANSWERED_BEFORE + 2 * POOL
    stats = server.stats()
    assert (stats.requests, stats.answered, stats.repeated) == (ROWS, ROWS, 0)
    assert project.query("SELECT status, count(*) FROM calls GROUP BY status") == [("answered", ROWS)]
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]
    assert project.query("SELECT count(*) FROM node_executions") == [(NODES,)]


def _project(folder: Path, url: str, server: FakeModelServer) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row {index}"] for index in range(ROWS)])
    project = Project(folder, url)
    project.declare(mood_pipeline(server.base_url, pool={"pool_size": POOL}))
    return project


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that may be stopped: nobody else uses it."""
    with running_postgres() as running:
        yield running


def test_postgresql_that_stops_and_starts_again_costs_a_run_nothing(
    tmp_path: Path, own_postgres: Postgres
) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=5)) as server:
        project = _project(tmp_path, own_postgres.ready(), server)
        outage = Outage(server, "postgresql", take=own_postgres.stop, give=own_postgres.start)

        _complete_in_spite_of(outage, project, server)


def test_sqlite_that_another_holds_locked_costs_a_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "landscape.db"
    with (
        FakeModelServer(FakeModelSettings(latency_ms=5)) as server,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as rival,
    ):
        project = _project(tmp_path, f"sqlite:///{path}", server)
        outage = Outage(
            server,
            "sqlite",
            take=partial(rival.execute, "BEGIN IMMEDIATE"),
            give=partial(rival.execute, "ROLLBACK"),
        )

        _complete_in_spite_of(outage, project, server)


def test_a_disk_that_is_full_stops_the_run_and_a_resume_completes_it(tmp_path: Path) -> None:
    path = tmp_path / "landscape.db"

    def fill_the_disk(connection: sqlite3.Connection, _record: object) -> None:
        (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
        if Path(file) == path and server.stats().requests >= ANSWERED_BEFORE:
            connection.execute("PRAGMA max_page_count = 1").fetchone()  # no page more than there is

    def fill_it_soon(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            fill_the_disk(driver, None)

    with FakeModelServer(FakeModelSettings(latency_ms=5)) as server:
        project = _project(tmp_path, f"sqlite:///{path}", server)
        with listening("begin", fill_it_soon):
            first = project.run()

        assert not first.success
        (failure,) = [event.step_failure_data for event in first.all_events if event.is_step_failure]
        assert failure.user_failure_data is not None
        said = failure.user_failure_data.description
        assert said is not None
        assert "The Landscape has no space left: " in said
        assert "free some space, then resume" in said
        assert server.stats().requests < ROWS

        assert project.run(resume=first.run_id).success

        assert server.stats().repeated <= POOL
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]
    assert project.query("SELECT count(*) FROM calls WHERE status = 'open'") == [(0,)]
