"""A SELECT that somebody else wrote, run within bounds: it reads, it ends, and its answer fits.

SQLite is asked through an authorizer that allows reading and nothing else, on a connection of its own. PostgreSQL runs
the query inside a read-only transaction, as the source of another SELECT, so that nothing but a query can stand there.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy.exc import DBAPIError

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.model.row import JSON

ROWS_MAX: Final = 1_000  # more is no answer to read; count or page with LIMIT and OFFSET
BYTES_MAX: Final = 200_000  # of all rows as JSON text
SECONDS_MAX: Final = 10.0
VALUE_BYTES_MAX: Final = 16 * 1024 * 1024  # what one value may grow to inside SQLite
STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's machine: well below a millisecond
_ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query gave; ``is_cut`` where there was more than the bounds allow. Bytes are hexadecimal."""

    columns: tuple[str, ...]
    rows: tuple[tuple[JSON, ...], ...]
    is_cut: bool


def run_query(
    database: Database, sql: str, *, rows_max: int = ROWS_MAX, seconds_max: float = SECONDS_MAX
) -> QueryResult:
    """The first rows that ``sql`` gives.

    Raises:
        LandscapeError: it is no single query, it does something else than read, it is wrong, or it takes too long.
    """
    ask = _ask_sqlite if database.dialect == "sqlite" else _ask_postgresql
    return ask(database, sql, min(rows_max, ROWS_MAX), seconds_max)


def _kept(columns: Sequence[str], rows: Iterable[Sequence[JSON]], rows_max: int) -> QueryResult:
    kept: list[tuple[JSON, ...]] = []
    size_bytes = 0
    for row in rows:
        size_bytes += len(json.dumps(row))
        if len(kept) == rows_max or (kept and size_bytes > BYTES_MAX):
            return QueryResult(tuple(columns), tuple(kept), is_cut=True)
        if size_bytes > BYTES_MAX:
            raise _refusal(
                f"One row takes more than {BYTES_MAX:,} bytes.",
                "select fewer columns, or a part as substr(body, 1, 1000)",
            )
        kept.append(tuple(row))
    return QueryResult(tuple(columns), tuple(kept), is_cut=False)


def _refusal(what: str, hint: str) -> LandscapeError:
    return LandscapeError(what, where="query(sql)", hint=hint)


def _nothing_asked() -> LandscapeError:
    return _refusal("There is no query in it.", "write one SELECT")


def _too_long(seconds_max: float) -> LandscapeError:
    return _refusal(
        f"The query took longer than {seconds_max:g} s and was stopped.",
        "narrow it, as with WHERE run_id = ..., or a LIMIT inside a recursion",
    )


# SQLite --------------------------------------------------------------------------------------------------------------


def _ask_sqlite(database: Database, sql: str, rows_max: int, seconds_max: float) -> QueryResult:
    pooled = database.engine.raw_connection()
    try:
        connection = cast("sqlite3.Connection", pooled.driver_connection)
        deadline = time.monotonic() + seconds_max
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.text_factory = lambda text: text.decode(errors="backslashreplace")
        connection.set_authorizer(_only_reading)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
        with _sqlite_failures_named(seconds_max), closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            if cursor.description is None:
                raise _nothing_asked()
            columns = [name for name, *_ in cursor.description]
            return _kept(columns, (tuple(map(_plain, row)) for row in cursor), rows_max)
    finally:
        pooled.invalidate()  # nobody else gets a connection with these bounds


def _only_reading(action: int, _table: str | None, function: str | None, *_more: str | None) -> int:
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and function == "load_extension"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


@contextmanager
def _sqlite_failures_named(seconds_max: float) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        said = str(error)
        if said == "interrupted":
            raise _too_long(seconds_max) from error
        if said in {"not authorized", "authorizer malfunction"} or "prohibited" in said or "readonly" in said:
            raise _refusal("Only queries that read are answered.", "write one SELECT") from error
        raise _refusal(
            f"SQLite refused the query: {said}", "the tables are in sqlite_master; write one SELECT"
        ) from error


def _plain(value: Any) -> JSON:
    plain: JSON = value.hex() if isinstance(value, bytes) else value
    return plain


# PostgreSQL ----------------------------------------------------------------------------------------------------------


def _ask_postgresql(database: Database, sql: str, rows_max: int, seconds_max: float) -> QueryResult:
    from psycopg import Connection, Error, errors  # noqa: PLC0415 - an extra

    query = sql.strip().removesuffix(";")
    try:
        with database.read() as opened:
            # A read-only transaction stays one as soon as it has seen anything.
            opened.exec_driver_sql("SELECT 1")
            opened.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds_max * 1000)}")
            connection = cast("Connection[Any]", opened.connection.driver_connection)
            with connection.cursor() as cursor:
                # The asker's own SQL is the point here. Prepared, so that the server refuses several statements.
                cursor.execute(f"SELECT * FROM ({query}\n) AS asked LIMIT 0".encode(), prepare=True)  # noqa: S608
                columns = [column.name for column in cursor.description or ()]
            if not columns:
                raise _nothing_asked()
            rows = _postgresql_rows(connection, query, seconds_max)
            return _kept(columns, rows, rows_max)
    except errors.QueryCanceled as error:
        raise _too_long(seconds_max) from error
    except (Error, DBAPIError, UnicodeEncodeError) as error:
        said = " ".join(str(error).split("\n")[0].split())
        raise _refusal(
            f"PostgreSQL refused the query: {said}",
            "the tables are in information_schema.tables; write one SELECT",
        ) from error


def _postgresql_rows(connection: Any, query: str, seconds_max: float) -> Iterator[tuple[JSON, ...]]:
    """Each row as JSON that the server cut to size: the client never holds a value that is too large."""
    deadline = time.monotonic() + seconds_max
    with connection.cursor(name="asked") as cursor:
        cursor.itersize = 1
        cursor.execute(
            f"SELECT left(to_json(asked)::text, {BYTES_MAX + 1}) FROM ({query}\n) AS asked".encode()  # noqa: S608
        )
        for (text,) in cursor:
            if time.monotonic() > deadline:
                raise _too_long(seconds_max)
            if len(text) > BYTES_MAX:
                yield (text,)  # too large, as `_kept` will say
                continue
            yield tuple(value for _, value in json.loads(text, object_pairs_hook=list))
