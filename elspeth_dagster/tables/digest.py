"""What a sink's rows in a table come to as one hash: as the database gives them back, in their order.

Nulls are left out, so that a column which is added later changes nothing; so are the columns that tell whose rows they
are, so that the same rows of another run have the same hash.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.tables.uri import TableUri

RUN, SINK, PARTITION, ROW = "elspeth_run_id", "elspeth_sink", "elspeth_partition", "elspeth_row"
OWN_COLUMNS: Final = (SINK, RUN, ROW, PARTITION)
"""Beside the rows' own: which sink, which run, which row of it (from 1, as `explain` counts), which partition."""

_WHOSE: Final = frozenset({RUN, SINK, PARTITION})
PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of one sink: their number, their size as JSON, and the hash of that."""

    row_count: int
    size_bytes: int
    sha256: bytes


def content_of(connection: Connection, uri: TableUri) -> Content:
    """Read the rows that ``uri`` means, a page in memory at a time."""
    table = sa.table(sa.quoted_name(uri.table, quote=True), schema=_quoted(uri.schema))
    question = sa.select(sa.text("*")).select_from(table).where(mine(uri)).order_by(_column(ROW))
    digest, size, count = hashlib.sha256(), 0, 0
    with closing(connection.execution_options(yield_per=PAGE_ROWS).execute(question)) as result:
        names = list(result.keys())
        for values in result:
            line = _line(names, values)
            digest.update(line)
            size += len(line)
            count += 1
    return Content(count, size, digest.digest())


def _line(names: Sequence[str], values: Sequence[object]) -> bytes:
    row = {
        name: value
        for name, value in zip(names, values, strict=True)
        if value is not None and name not in _WHOSE
    }
    return json.dumps(row, sort_keys=True, separators=(",", ":"), default=_plain).encode() + b"\n"


def mine(uri: TableUri) -> sa.ColumnElement[bool]:
    """Which rows of the table are the sink's: those of its run, or of all of its runs of the partition."""
    which = _column(SINK) == sa.literal(uri.sink)
    if uri.run_id is not None:
        return which & (_column(RUN) == sa.literal(uri.run_id))
    partition = _column(PARTITION)
    return which & (partition.is_(None) if uri.partition is None else partition == sa.literal(uri.partition))


def _column(name: str) -> sa.ColumnClause[Any]:
    return sa.column(name)


def _quoted(name: str | None) -> sa.quoted_name | None:
    return None if name is None else sa.quoted_name(name, quote=True)


def _plain(value: object) -> object:
    """A value that JSON lacks, written the same whichever driver and session gave it."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return aware.astimezone(dt.UTC).isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)
