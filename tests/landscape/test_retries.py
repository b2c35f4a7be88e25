"""What passes is tried again within a bound; what was sent twice is stored once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import OperationalError

from elspeth_dagster.errors import LandscapeUnavailableError
from elspeth_dagster.landscape import patience
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.engine import BUSY_TIMEOUT_MS
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.patience import AWAY_S_MAX, persist
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import Feed, Waiting, count_waiting
from elspeth_dagster.landscape.writer import LandscapeWriter
from tests.landscape.gate import PATIENCE_S
from tests.landscape.material import FakeClock, begun, count_of, done_state, open_state, source_unit


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tries as ever, without the waits."""
    monkeypatch.setattr(patience, "WAIT_S", 0.0001)
    monkeypatch.setattr(patience, "WAIT_S_MAX", 0.001)


TRY_S = BUSY_TIMEOUT_MS / 1000
TRIES_MAX = int(AWAY_S_MAX / TRY_S) + 1  # the first of which begins the wait


class Rival:
    """Holds SQLite's write lock in a connection of its own, and lets go after so many failures of the others.

    Each failure took as long as the busy time-out would have made it take.
    """

    def __init__(self, path: Path, *, failures: int, clock: FakeClock) -> None:
        self.seen = 0
        self._clock = clock
        self._failures = failures
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def notice(self, _context: ExceptionContext) -> None:
        self.seen += 1
        self._clock.advance(TRY_S)
        if self.seen == self._failures:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Database]:
    """A Landscape in SQLite whose connections do not wait for locks."""
    database = Database(f"sqlite:///{tmp_path / 'hasty.db'}")
    sa.event.listen(
        database.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0")
    )
    database.ensure_schema()
    yield database
    database.dispose()


@pytest.mark.parametrize("failures", [1, TRIES_MAX - 1])
def test_a_locked_database_is_tried_again_until_it_is_free(
    hasty: Database, clock: FakeClock, tmp_path: Path, failures: int
) -> None:
    handle = begun(hasty, clock=clock)
    with closing(Rival(tmp_path / "hasty.db", failures=failures, clock=clock)) as rival:
        sa.event.listen(hasty.engine, "handle_error", rival.notice)
        writer = LandscapeWriter(hasty, clock=clock)

        writer.write(handle, source_unit(handle, [0]))

        writer.close()
    assert rival.seen == failures
    assert count_of(hasty, "rows") == 1


def test_a_database_that_stays_locked_stops_the_node(
    hasty: Database, clock: FakeClock, tmp_path: Path
) -> None:
    handle = begun(hasty, clock=clock)
    with closing(Rival(tmp_path / "hasty.db", failures=TRIES_MAX + 1, clock=clock)) as rival:
        sa.event.listen(hasty.engine, "handle_error", rival.notice)
        writer = LandscapeWriter(hasty, clock=clock)

        with pytest.raises(LandscapeUnavailableError, match="database is locked"):
            writer.write(handle, source_unit(handle, [0]))

        writer.close()
    assert rival.seen == TRIES_MAX
    assert count_of(hasty, "rows") == 0


def test_a_lock_is_waited_for_without_any_retry(database: Database, clock: FakeClock, url: str) -> None:
    """The database's own patience comes first: here a rival commits while the writer waits for it."""
    handle = begun(database, clock=clock)
    failures: list[ExceptionContext] = []
    sa.event.listen(database.engine, "handle_error", failures.append)
    writer = LandscapeWriter(database, clock=clock)
    rival = Database(url)

    with rival.write() as connection:
        connection.exec_driver_sql("UPDATE fences SET heartbeat_at = heartbeat_at")  # the lock that both need
        ticket = writer.submit(handle, source_unit(handle, [0]))
        assert not ticket.done()
    ticket.result(PATIENCE_S)

    writer.close()
    rival.dispose()
    assert not failures
    assert count_of(database, "rows") == 1


def lost_answer(dialect: str) -> OperationalError:
    if dialect == "postgresql":
        return OperationalError("COMMIT", {}, psycopg.OperationalError("the server closed the connection"))
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("COMMIT", {}, locked)


def test_a_commit_whose_answer_was_lost_is_sent_again_and_stored_once(
    database: Database, clock: FakeClock
) -> None:
    source = begun(database, clock=clock)
    handle = begun(database, "score", clock=clock)
    writer = LandscapeWriter(database, clock=clock)
    writer.write(source, source_unit(source, [0]))
    commits = 0

    def commit_and_lose_the_answer(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits == 1:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.commit()
            raise lost_answer(database.dialect)

    unit = Unit()
    unit.insert("node_states", open_state(handle, 0))
    unit.close("node_states", done_state(handle, 0))
    sa.event.listen(database.engine, "commit", commit_and_lose_the_answer)

    writer.write(handle, unit)

    writer.close()
    assert commits == 2
    assert count_of(database, "node_states") == 1


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_connection_that_breaks_in_the_middle_is_replaced(
    database: Database, clock: FakeClock, url: str
) -> None:
    handle = begun(database, clock=clock)
    writer = LandscapeWriter(database, clock=clock)
    rival = Database(url)
    broken = 0

    def break_once(connection: Connection) -> None:
        nonlocal broken
        broken += 1
        if broken == 1:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with rival.write() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({driver.info.backend_pid})")

    sa.event.listen(database.engine, "commit", break_once)

    writer.write(handle, source_unit(handle, range(3)))

    writer.close()
    rival.dispose()
    assert broken == 2
    assert count_of(database, "rows") == 3


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("patience_s", [0.0, AWAY_S_MAX])
def test_only_the_reads_of_a_running_node_are_patient(url: str, patience_s: float) -> None:
    database, rival = Database(url, patience_s=patience_s), Database(url)
    waiting = Waiting("no run", "no node", [Feed("source", "out", is_source=True)])
    statements = 0

    def break_once(connection: Connection, *_: object) -> None:
        nonlocal statements
        statements += 1
        driver = connection.connection.driver_connection
        if statements == 1:
            assert isinstance(driver, psycopg.Connection)
            with rival.write() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({driver.info.backend_pid})")

    with database.read():
        sa.event.listen(database.engine, "before_cursor_execute", break_once)

    if patience_s:
        assert count_waiting(database, waiting) == 0
    else:
        with pytest.raises(LandscapeUnavailableError, match="terminat"):
            count_waiting(database, waiting)

    rival.dispose()
    database.dispose()


def test_patience_ends_with_the_last_failure(clock: FakeClock) -> None:
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        clock.advance(1)
        raise LandscapeUnavailableError("away") from lost_answer("sqlite")

    with pytest.raises(LandscapeUnavailableError, match="away"):
        persist(fail, clock=clock, patience_s=10)

    assert tries == 1 + 10


def test_work_that_takes_longer_than_the_patience_is_done_again_all_the_same(clock: FakeClock) -> None:
    tries = 0

    def work() -> int:
        nonlocal tries
        tries += 1
        clock.advance(500)
        if tries == 1:
            raise LandscapeUnavailableError("away") from lost_answer("sqlite")
        return tries

    assert persist(work, clock=clock, patience_s=10) == 2


def test_a_full_disk_stops_the_node_with_the_databases_words(
    hasty: Database, clock: FakeClock, tmp_path: Path
) -> None:
    handle: ExecutionHandle = begun(hasty, clock=clock)
    sa.event.listen(
        hasty.engine,
        "checkout",
        lambda connection, *_: connection.execute("PRAGMA max_page_count=1").fetchone(),
    )
    writer = LandscapeWriter(hasty, clock=clock)
    unit = Unit()
    for number in range(100):
        unit.insert("payloads", ("row", number.to_bytes(4, "big"), b"x" * 10_000))

    with pytest.raises(LandscapeUnavailableError, match=r"no space left: .*full") as refused:
        writer.write(handle, unit)

    writer.close()
    assert "free some space, then resume" in str(refused.value)
    assert count_of(hasty, "payloads") == 0
