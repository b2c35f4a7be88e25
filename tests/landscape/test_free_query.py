"""A query that somebody else wrote can read, and nothing else: it ends in time, and its answer has a bound."""

from __future__ import annotations

import time

import pytest

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape import Landscape
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.free_query import BYTES_MAX, ROWS_MAX, run_query
from tests.landscape.family import make_family
from tests.landscape.material import count_of

ROWS = 4

HOSTILE = [
    "UPDATE fences SET heartbeat_at = 'x'",
    "DELETE FROM payloads",
    "INSERT INTO pool_members VALUES ('a', 'b', 1, 'c')",
    "DROP TABLE payloads",
    "CREATE TABLE extra (x INTEGER)",
    "CREATE TEMP TABLE extra (x INTEGER)",
    "SELECT 1; DELETE FROM payloads",
    "SELECT 1; SELECT 2",
    "SELECT 1) AS q; DELETE FROM payloads; SELECT (1",
    "WITH gone AS (DELETE FROM payloads RETURNING salt_id) SELECT * FROM gone",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT s",
    "VACUUM",
    "ATTACH DATABASE '/tmp/elspeth_attached.db' AS other",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "SELECT load_extension('evil')",
    "SELECT * FROM pragma_journal_mode('delete')",
    "SET default_transaction_read_only = off",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY payloads TO PROGRAM 'cat > /tmp/elspeth_copied'",
    "COPY (SELECT 1) TO '/tmp/elspeth_copied'",
    "SELECT lo_create(0)",
    "SELECT nextval('nothing')",
    "DO $$ BEGIN DELETE FROM payloads; END $$",
    "",
    "   ",
    ";",
    "-- nothing",
    "SELECT",
    "SELECT * FROM nowhere",
    "SELECT '\x00'",
    "SELECT '\ud800'",
]


@pytest.fixture
def landscape(database: Database, url: str) -> Landscape:
    make_family(database, ROWS)
    return Landscape.open(url)


@pytest.fixture(autouse=True)
def closed(landscape: Landscape) -> object:
    yield
    landscape.close()


def test_a_query_gives_columns_and_rows(landscape: Landscape) -> None:
    found = run_query(
        landscape.database,
        "SELECT row_id, row_index AS number, row_index * 0.5 AS half FROM rows ORDER BY 2 -- all;",
    )
    assert found.columns == ("row_id", "number", "half")
    assert [(row[1], row[2]) for row in found.rows] == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]
    assert not found.is_cut
    assert run_query(landscape.database, "SELECT 1 AS a, 2 AS a;").rows == ((1, 2),)
    assert run_query(landscape.database, "SELECT run_id FROM runs WHERE 1 = 0").columns == ("run_id",)


def test_hashes_are_text(landscape: Landscape) -> None:
    ((digest,),) = run_query(landscape.database, "SELECT data_hash FROM rows LIMIT 1").rows
    assert isinstance(digest, str)
    assert len(digest.removeprefix("\\x")) == 64


@pytest.mark.parametrize("sql", HOSTILE)
def test_whatever_does_not_only_read_is_refused_and_changes_nothing(
    landscape: Landscape, database: Database, sql: str
) -> None:
    before = {name: count_of(database, name) for name in ("payloads", "fences", "pool_members")}
    with pytest.raises(LandscapeError) as refused:
        run_query(landscape.database, sql)
    assert (refused.value.where, bool(refused.value.hint)) == ("query(sql)", True)
    assert {name: count_of(database, name) for name in before} == before
    assert run_query(landscape.database, "SELECT 1 AS one").rows == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n ORDER BY x DESC",
    ],
)
def test_a_query_without_end_is_stopped(landscape: Landscape, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(LandscapeError, match=r"longer than 0\.5 s"):
        run_query(landscape.database, sql, seconds_max=0.5)
    assert time.monotonic() - began < 5


def test_an_endless_answer_is_cut(landscape: Landscape) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    found = run_query(landscape.database, endless, rows_max=10**9)
    assert (len(found.rows), found.is_cut) == (ROWS_MAX, True)
    few = run_query(landscape.database, endless, rows_max=3)
    assert (few.rows, few.is_cut) == (((1,), (2,), (3,)), True)


def test_wide_rows_are_cut_by_size(landscape: Landscape) -> None:
    text = "hex(randomblob(20000))" if landscape.database.dialect == "sqlite" else "repeat('x', 40000)"
    found = run_query(landscape.database, f"SELECT {text} FROM tokens")  # noqa: S608 - our own
    assert found.is_cut
    assert sum(len(str(row)) for row in found.rows) <= BYTES_MAX


def test_one_value_that_is_too_large_says_what_to_do(landscape: Landscape) -> None:
    huge = "hex(zeroblob(7000000))" if landscape.database.dialect == "sqlite" else "repeat('x', 3000000)"
    with pytest.raises(LandscapeError, match="more than 200,000 bytes") as refused:
        run_query(landscape.database, f"SELECT {huge}")
    assert "substr" in str(refused.value.hint)


def test_a_value_beyond_any_measure_is_refused(landscape: Landscape) -> None:
    huge = "zeroblob(2000000000)" if landscape.database.dialect == "sqlite" else "repeat('x', 2000000000)"
    with pytest.raises(LandscapeError, match="refused the query"):
        run_query(landscape.database, f"SELECT {huge}")
