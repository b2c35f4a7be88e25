"""Opening a Landscape: what is safe about its connections, and what is refused and left as it was."""

from __future__ import annotations

import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, InternalError

from elspeth_dagster.errors import LandscapeError, LandscapeUnavailableError, SchemaVersionError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.driver_errors import is_passing
from tests.landscape.conftest import NewUrl
from tests.landscape.material import NOW, count_of
from tests.landscape.test_schema import described

SECRET = "hunter2"
RUN_ROW = {
    "pipeline": "triage", "partition_key": "", "run_id": "r", "dagster_run_id": "d", "heartbeat_at": NOW,
}  # fmt: skip


def opened(url: str) -> None:
    """What every process does first."""
    database = Database(url)
    try:
        database.ensure_schema()
    finally:
        database.dispose()


def whole_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


# Transactions -------------------------------------------------------------------------------------------------------


def test_a_write_is_kept_when_its_block_ends(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(schema.leases).values(RUN_ROW))

    assert count_of(database, "leases") == 1


def test_nothing_of_a_write_is_kept_when_its_block_raises(database: Database) -> None:
    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(schema.leases).values(RUN_ROW))
            raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        write_and_fail()

    assert count_of(database, "leases") == 0


def test_a_read_is_one_view_while_others_write(database: Database) -> None:
    with database.read() as reading:
        before = reading.execute(sa.select(sa.func.count()).select_from(schema.leases)).scalar_one()
        with database.write() as writing:
            writing.execute(sa.insert(schema.leases).values(RUN_ROW))
        after = reading.execute(sa.select(sa.func.count()).select_from(schema.leases)).scalar_one()

    assert (before, after) == (0, 0)
    assert count_of(database, "leases") == 1


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_text_that_postgresql_cannot_hold_is_told_in_three_lines(database: Database) -> None:
    with pytest.raises(LandscapeError, match="cannot hold a value") as refused, database.read() as connection:
        connection.execute(sa.select(sa.literal("a NUL \0 character")))

    assert refused.value.where == database.shown_url
    assert "NUL" in str(refused.value.hint)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_read_cannot_write_on_postgresql(database: Database) -> None:
    with pytest.raises(InternalError, match="read-only"), database.read() as connection:
        connection.execute(sa.insert(schema.leases).values(RUN_ROW))

    with database.write() as connection:  # the same pooled connection writes again
        connection.execute(sa.insert(schema.leases).values(RUN_ROW))
    assert count_of(database, "leases") == 1


def test_what_reads_first_and_then_decides_does_so_alone(database: Database) -> None:
    place = {"run_id": "r", "node_id": "n", "execution_id": "e", "rows_failed": 0, "updated_at": NOW}

    def count_up() -> None:
        for _ in range(10):
            with database.alone() as connection:
                done = connection.execute(sa.select(schema.progress.c.rows_done)).scalar()
                if done is None:
                    connection.execute(sa.insert(schema.progress).values(**place, rows_done=1))
                else:
                    connection.execute(sa.update(schema.progress).values(rows_done=done + 1))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        assert connection.execute(sa.select(schema.progress.c.rows_done)).scalar_one() == 40


def test_an_error_of_the_records_themselves_keeps_its_class(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(sa.insert(schema.leases).values([RUN_ROW, RUN_ROW]))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_sqlite_connection_is_safe(database: Database) -> None:
    with database.write() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "page_size")
        }

    assert found == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1, "page_size": 16_384,
    }  # fmt: skip


# Creating and accepting ---------------------------------------------------------------------------------------------


def test_an_empty_database_becomes_a_landscape(empty_url: str) -> None:
    database = Database(empty_url)
    assert database.revision() is None

    database.ensure_schema()

    assert database.revision() == schema.REVISION
    assert set(described(database)) == set(schema.metadata.tables)
    database.dispose()


def test_a_landscape_of_this_version_is_accepted_as_it_is(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(schema.leases).values(RUN_ROW))
    before = described(database)

    database.ensure_schema()
    database.ensure_schema()

    assert described(database) == before
    assert count_of(database, "leases") == 1


def test_the_folder_of_a_new_landscape_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "landscape.db"

    opened(f"sqlite:///{path}")

    assert path.exists()


# Refusing -----------------------------------------------------------------------------------------------------------


def test_a_landscape_of_another_version_is_refused_untouched(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = described(database)

    with pytest.raises(SchemaVersionError, match="is of version 9999; this package needs 0001"):
        database.ensure_schema()

    assert described(database) == before
    assert database.revision() == "9999"


def test_a_landscape_that_lost_its_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")

    with pytest.raises(SchemaVersionError, match="no version at all"):
        database.ensure_schema()


def test_a_database_of_something_else_is_refused_untouched(new_empty_url: NewUrl) -> None:
    other = Database(new_empty_url())
    with other.write() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        connection.exec_driver_sql("CREATE TABLE customers (name TEXT)")
    before = described(other)

    with pytest.raises(SchemaVersionError, match="tables of something else"):
        other.ensure_schema()

    assert described(other) == before
    other.dispose()


def of_something_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.commit()


def of_another_version(path: Path) -> None:
    opened(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def no_database(path: Path) -> None:
    path.write_text("name,amount\nAda,1\n" * 500)


def short_text(path: Path) -> None:
    path.write_text("x")


def damaged(path: Path) -> None:
    opened(f"sqlite:///{path}")
    body = bytearray(path.read_bytes())
    body[100:4096] = b"\xee" * 3996  # behind the file's header: the table of tables
    path.write_bytes(body)


def cut_off(path: Path) -> None:
    opened(f"sqlite:///{path}")
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    "made", [of_something_else, of_another_version, no_database, short_text, damaged, cut_off]
)
def test_a_file_that_is_no_landscape_of_ours_keeps_every_byte(
    made: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "landscape.db"
    made(path)
    before = path.read_bytes()

    with pytest.raises(SchemaVersionError) as refused:
        opened(f"sqlite:///{path}")

    assert str(path) in str(refused.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["landscape.db"]


def test_damage_that_shows_later_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "landscape.db"
    opened(f"sqlite:///{path}")
    body = bytearray(path.read_bytes())
    body[16_384:] = b"\xee" * (len(body) - 16_384)  # every page but the first
    path.write_bytes(body)
    database = Database(f"sqlite:///{path}")

    with pytest.raises(SchemaVersionError, match="no readable SQLite database"):
        count_of(database, "runs")

    database.dispose()


@pytest.fixture
def unusable(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file").write_text("a file, no folder")
    yield tmp_path
    assert (tmp_path / "file").read_text() == "a file, no folder"


@pytest.mark.parametrize("place", ["file/landscape.db", "file/deeper/landscape.db", "."])
def test_a_path_that_cannot_hold_a_file_is_refused(place: str, unusable: Path) -> None:
    with pytest.raises(LandscapeUnavailableError) as refused:
        opened(f"sqlite:///{unusable / place}")

    assert str(unusable) in str(refused.value)
    assert "next:" in str(refused.value)


def test_a_landscape_that_can_only_be_read_is_refused_when_written(tmp_path: Path) -> None:
    path = tmp_path / "landscape.db"
    opened(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    sa.event.listen(
        database.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON")
    )

    with pytest.raises(LandscapeUnavailableError, match="readonly"), database.write() as connection:
        connection.execute(sa.insert(schema.leases).values(RUN_ROW))

    assert count_of(database, "leases") == 0
    database.dispose()


@pytest.mark.parametrize(
    "url",
    [
        f"no url at all: {SECRET}",
        f"mysql://me:{SECRET}@host/name",
        f"postgresql://me:{SECRET}@host:port/name",
        f"postgresql://me:{SECRET}@127.0.0.1:1/name",
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/name",
        f"postgres://me@127.0.0.1:1/name?password={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1:1/name?no_such_option=1",
        f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:1/name",
        f"postgresql+no_such_driver://me:{SECRET}@127.0.0.1:1/name",
        f"postgresql://me:{SECRET}@no-such-host.invalid/name",
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:shared?mode=memory&uri=true",
        "landscape.db",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LandscapeUnavailableError) as refused:
        opened(url)

    assert SECRET not in whole_text(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/name",
        f"postgresql://host/name?password={SECRET}&user=me",
        f"postgresql:///name?host=/tmp&sslpassword={SECRET}",
    ],
)
def test_a_shown_url_hides_the_password_and_nothing_else(url: str) -> None:
    shown = Database(url).shown_url

    assert SECRET not in shown
    assert "name" in shown


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_an_unknown_database_of_a_running_server_is_refused(url: str) -> None:
    parsed = sa.make_url(url)

    with pytest.raises(LandscapeUnavailableError, match="does not exist"):
        opened(parsed.set(database="no_such_database").render_as_string(hide_password=False))


def test_a_driver_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(LandscapeUnavailableError, match="driver is not installed") as refused:
        Database("postgresql://host/name")

    assert "elspeth_dagster[postgres]" in str(refused.value)


# What passes --------------------------------------------------------------------------------------------------------


def cause_of(error: LandscapeError) -> BaseException:
    assert error.__cause__ is not None
    return error.__cause__


def test_a_locked_database_is_a_passing_failure(tmp_path: Path) -> None:
    path = tmp_path / "landscape.db"
    database = Database(f"sqlite:///{path}")
    database.ensure_schema()
    rival = Database(f"sqlite:///{path}")
    sa.event.listen(
        rival.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0")
    )

    with database.write(), pytest.raises(LandscapeUnavailableError, match="locked") as locked, rival.write():
        pass

    assert is_passing(cause_of(locked.value))
    database.dispose()
    rival.dispose()


def test_a_server_that_does_not_answer_is_a_passing_failure() -> None:
    database = Database("postgresql://me@127.0.0.1:1/name")

    with pytest.raises(LandscapeUnavailableError) as refused:
        database.revision()

    assert is_passing(cause_of(refused.value))


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_lost_connection_is_a_passing_failure(database: Database) -> None:
    def lose_the_connection() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(schema.leases).values(RUN_ROW))
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with database.write() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(LandscapeUnavailableError) as lost:
        lose_the_connection()

    assert is_passing(cause_of(lost.value))
    assert count_of(database, "leases") == 0


def test_a_refused_record_is_no_passing_failure(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused, database.write() as connection:
        connection.execute(sa.insert(schema.leases).values([RUN_ROW, RUN_ROW]))

    assert not is_passing(refused.value)
    assert not is_passing(ValueError("no error of a database"))
