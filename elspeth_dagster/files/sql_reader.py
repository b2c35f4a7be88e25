"""Reading a table or a query: typed records in a declared order, a page at a time, in a transaction that only reads.

The order must be one: two records of which the order says nothing might change places between a run and its resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files.header import check_header
from elspeth_dagster.files.opening import reading_bytes
from elspeth_dagster.files.record import RawRecord
from elspeth_dagster.files.sql_text import PARAMETER, PARTITION, as_text, bare
from elspeth_dagster.model.columns import Column, ExtraColumns
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.tables.address import Address

PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read: a ``query``, or a ``table`` of a ``schema``; by ``order_by``; for one ``partition``."""

    order_by: tuple[str, ...]
    query: str | None = None
    table: str | None = None
    schema: str | None = None
    partition: str | None = None

    @property
    def noun(self) -> str:
        """What to call it."""
        return "table" if self.query is None else "query's result"


def read_sql(
    address: Address, asked: Asked, *, columns: Sequence[Column] | None = None, extra: ExtraColumns = "keep"
) -> Iterator[RawRecord]:
    """The records in order. Nothing is opened before the first one is asked for; a record's ``line`` is its number.

    Raises:
        SourceError: the database cannot be reached or refuses, there is no such table, a column is missing, or the
            order leaves two records as they come.
    """
    if address.url.get_backend_name() == "sqlite":  # which would make an empty database where there is none
        with reading_bytes(Path(str(address.url.database))):
            pass
    with address.reading() as connection:
        names = _names(connection, address, asked)
        if columns is not None:
            check_header(names, columns, address.database, extra=extra, called=asked.noun)
        _check_order(names, address, asked)
        wanted = names
        if columns is not None and extra == "drop":
            needed = {*(column.name for column in columns), *asked.order_by}
            wanted = [name for name in names if name in needed]
        streaming = connection.execution_options(stream_results=True, yield_per=PAGE_ROWS)
        with closing(streaming.execute(_statement(asked, wanted), _parameters(asked))) as result:
            yield from _records(result, wanted, address, asked)


def _records(
    result: sa.CursorResult[Any], names: Sequence[str], address: Address, asked: Asked
) -> Iterator[RawRecord]:
    places = [names.index(name) for name in asked.order_by]
    before: tuple[object, ...] | None = None
    for index, values in enumerate(result):
        key = tuple(values[place] for place in places)
        if key == before:
            by = ", ".join(asked.order_by)
            raise SourceError(
                f"`order_by: [{by}]` leaves the order open: records {index - 1} and {index} are alike in it.",
                where=address.database,
                hint="add a column that tells every two records apart, such as the primary key",
            )
        before = key
        fields = {name: _plain(value) for name, value in zip(names, values, strict=True)}
        yield RawRecord(index, fields, fields, (), index + 1, 0)


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _names(connection: Connection, address: Address, asked: Asked) -> list[str]:
    """The columns there are, before anything is read."""
    if asked.query is not None:
        whole = f"SELECT * FROM (\n{bare(asked.query)}\n) AS elspeth_source WHERE 1 = 0"  # noqa: S608 - checked
        probe = sa.text(as_text(whole))
        names = list(connection.execute(_bound(probe, asked), _parameters(asked)).keys())
    else:
        assert asked.table is not None  # noqa: S101 - the declaration has one of the two
        inspector = sa.inspect(connection)
        if not inspector.has_table(asked.table, schema=asked.schema):
            raise _no_table(inspector, address, asked)
        names = [column["name"] for column in inspector.get_columns(asked.table, schema=asked.schema)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        what = f"The {asked.noun} names its column {twice!r} more than once."
        raise SourceError(what, where=address.database, hint="give it another name with AS")
    return names


def _no_table(inspector: Any, address: Address, asked: Asked) -> SourceError:
    try:
        there = [
            *inspector.get_table_names(schema=asked.schema),
            *inspector.get_view_names(schema=asked.schema),
        ]
    except sa.exc.SQLAlchemyError:  # no such schema, to some databases
        there = []
    table, schema = str(asked.table), asked.schema
    within = f" in the schema {schema!r}" if schema is not None else ""
    dotted = schema is None and "." in table
    return SourceError(
        f"There is no table {table!r}{within}.{suggest(table, there)}",
        where=address.database,
        hint="name the schema with `schema:`, the table alone with `table:`"
        if dotted
        else "check `table:` and `schema:`, and who may see the table",
    )


def _check_order(names: Sequence[str], address: Address, asked: Asked) -> None:
    for name in asked.order_by:
        if name not in names:
            what = f"`order_by` names {name!r}, which the {asked.noun} does not have.{suggest(name, names)}"
            raise SourceError(what, where=address.database, hint=f"columns there: {', '.join(names)}")


def _statement(asked: Asked, names: Sequence[str]) -> sa.Executable:
    columns: list[sa.ColumnClause[Any]] = [sa.column(sa.quoted_name(name, quote=True)) for name in names]
    order: list[sa.ColumnClause[Any]] = [
        sa.column(sa.quoted_name(name, quote=True)) for name in asked.order_by
    ]
    if asked.query is not None:
        whole = _bound(sa.text(as_text(f"(\n{bare(asked.query)}\n) AS elspeth_source")), asked)
        return sa.select(*columns).select_from(whole).order_by(*order)
    table = sa.table(
        sa.quoted_name(str(asked.table), quote=True),
        schema=None if asked.schema is None else sa.quoted_name(asked.schema, quote=True),
    )
    return sa.select(*columns).select_from(table).order_by(*order)


def _bound(statement: sa.TextClause, asked: Asked) -> sa.TextClause:
    """The partition's key without a type of its own: the database takes it for what it is compared with."""
    if PARTITION not in str(asked.query):
        return statement
    return statement.bindparams(sa.bindparam(PARAMETER, type_=sa.types.NullType()))


def _parameters(asked: Asked) -> dict[str, str | None]:
    return {PARAMETER: asked.partition} if PARTITION in str(asked.query) else {}
