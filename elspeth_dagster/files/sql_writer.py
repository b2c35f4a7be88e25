"""Writing rows into a table, all or none: the sink's earlier rows go and the run's come in one transaction.

Every row carries whose it is: sink, run, partition, and its number in the sink's order. So a run that goes on after a
crash takes its own rows back first, several sinks share a table, and rows of anybody else are never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files.sql_types import Bind, binder, new_type
from elspeth_dagster.files.writers import Artifact
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.tables.address import Address
from elspeth_dagster.tables.digest import OWN_COLUMNS, PARTITION, ROW, RUN, SINK, content_of, mine
from elspeth_dagster.tables.uri import TableUri

PAGE_ROWS: Final = 500
SINK_CHARS_MAX: Final = 130
"""A pipeline's name, a slash and a sink's."""

RUN_CHARS_MAX: Final = 500
"""A run's id, a slash and a partition's key."""


class SqlWriter:
    """Takes rows one by one; ``finish`` makes them appear together, ``abort`` leaves the table as it was.

    ``uri`` says which rows are the sink's and go first. The table is made if it is not there; one that is must have all
    ``columns``, and those that say whose a row is.

    Raises:
        SinkError: from any method, when the database cannot be used or refuses; the table is then as it was.
    """

    def __init__(
        self, address: Address, uri: TableUri, *, run_id: str, columns: Mapping[str, ColumnType]
    ) -> None:
        self._address, self._uri, self._run_id = address, uri, run_id
        own = set(OWN_COLUMNS)  # a row read from such a table brings another run's
        self._names = [name for name in columns if name not in own]
        self._page: list[dict[str, object]] = []
        self._row_count = 0
        self._stack = ExitStack()
        if address.url.get_backend_name() == "sqlite":
            _make_folder(Path(str(address.url.database)))
        try:
            self._connection = self._stack.enter_context(address.writing())
            self._begun(columns)
        except SQLAlchemyError as error:
            failure = self._failed(error)
        except BaseException:
            self.abort()
            raise
        else:
            return
        raise failure

    def _begun(self, columns: Mapping[str, ColumnType]) -> None:
        connection = self._connection
        self._transaction = connection.begin()
        _wait_for_others(connection, self._uri)
        self._table = _table_of(
            connection, self._uri, {name: columns[name] for name in self._names}, self._address
        )
        binds = {
            name: binder(self._table.c[key].type, connection.dialect) for name, key in _keys(self._names)
        }
        self._binds: list[tuple[str, str, Bind]] = [
            (name, key, binds[name]) for name, key in _keys(self._names)
        ]
        connection.execute(sa.delete(self._table).where(mine(self._uri)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, row: Row) -> None:
        """Append one row; fields that are no column are left out."""
        values: dict[str, object] = {
            _key(SINK): self._uri.sink,
            _key(RUN): self._run_id,
            _key(PARTITION): self._uri.partition,
            _key(ROW): self._row_count + 1,
        }
        for name, key, bind in self._binds:
            try:
                values[key] = bind(row.get(name))
            except ValueError as error:
                self.abort()
                what = f"Row {self._row_count} cannot be written: {name!r} holds {error}."
                hint = f"declare its type in the sink's `columns`, as in `{name}: json`, or mend the table"
                raise SinkError(what, where=self._where, hint=hint) from None
        self._page.append(values)
        self._row_count += 1
        if len(self._page) == PAGE_ROWS:
            self._send()

    def finish(self) -> Artifact:
        """Make the rows appear. The hash is of what the database gives back, read before they do."""
        self._send()
        failure: Exception | None = None
        try:
            content = content_of(self._connection, self._uri)
            if content.row_count != self._row_count:
                what = f"The table has {content.row_count} rows of this sink where {self._row_count} were written."
                raise SinkError(what, where=self._where, hint="look for triggers and rules of the table")
            self._transaction.commit()
        except SQLAlchemyError as error:
            failure = self._failed(error)
        if failure is not None:
            raise failure
        self._stack.close()
        return Artifact(str(self._uri), content.sha256, content.size_bytes, content.row_count)

    def abort(self) -> None:
        """Forget everything written. After ``finish``, nothing."""
        self._page.clear()
        self._stack.close()  # a transaction that is left open is rolled back

    @property
    def _where(self) -> str:
        return f"table {self._uri.table_name!r} in {self._address.database}"

    def _send(self) -> None:
        if not self._page:
            return
        failure: Exception | None = None
        try:
            self._connection.execute(sa.insert(self._table), self._page)
        except (SQLAlchemyError, OverflowError) as error:
            failure = self._failed(error)
        if failure is not None:
            raise failure
        self._page.clear()

    def _failed(self, error: Exception) -> Exception:
        self.abort()
        return self._address.failure(error)


def _table_of(
    connection: Connection, uri: TableUri, columns: Mapping[str, ColumnType], address: Address
) -> sa.Table:
    """The table, made if it is not there. Columns are reached by keys of ours, whatever their names hold."""
    longest = connection.dialect.max_identifier_length
    for name in (uri.table, *columns):
        if len(name.encode()) > longest:
            what = (
                f"The name {name[:40]!r}… is longer than the {longest} bytes that the database keeps of one."
            )
            raise SinkError(what, where=address.database, hint="rename it, with a `map` step or `table:`")
    own = [
        _column(SINK, sa.String(SINK_CHARS_MAX), is_key=True),
        _column(RUN, sa.String(RUN_CHARS_MAX), is_key=True),
        _column(ROW, sa.BigInteger(), is_key=True),
        _column(PARTITION, sa.String(RUN_CHARS_MAX)),
    ]
    inspector = sa.inspect(connection)
    if inspector.has_table(uri.table, schema=uri.schema):
        there = {
            column["name"]: column["type"] for column in inspector.get_columns(uri.table, schema=uri.schema)
        }
        _refuse_lacking(there, columns, uri, address, connection)
        return _table(uri, [*(_column(name, there[name]) for name in columns), *own])
    table = _table(uri, [*(_column(name, new_type(kind)) for name, kind in columns.items()), *own])
    table.create(connection)
    return table


def _refuse_lacking(
    there: Mapping[str, Any],
    columns: Mapping[str, ColumnType],
    uri: TableUri,
    address: Address,
    connection: Connection,
) -> None:
    where = f"table {uri.table_name!r} in {address.database}"
    if own := [name for name in OWN_COLUMNS if name not in there]:
        what = f"The table was not made by a sink: it has no column {own[0]!r}, which tells whose a row is."
        raise SinkError(what, where=where, hint=f"name another table, or add {', '.join(own)} to this one")
    if lacking := [name for name in columns if name not in there]:
        name = lacking[0]
        kind = new_type(columns[name]).dialect_impl(connection.dialect).compile(connection.dialect)
        near = suggest(name, [one for one in there if one not in OWN_COLUMNS])
        what = f"The table has no column {', '.join(map(repr, lacking[:10]))}.{near}"
        hint = f"ALTER TABLE {uri.table_name} ADD COLUMN {name} {kind}; or list what to write in the sink's `columns`"
        raise SinkError(what, where=where, hint=hint)


def _table(uri: TableUri, columns: Sequence[sa.Column[Any]]) -> sa.Table:
    schema = None if uri.schema is None else sa.quoted_name(uri.schema, quote=True)
    return sa.Table(sa.quoted_name(uri.table, quote=True), sa.MetaData(), *columns, schema=schema)


def _column(name: str, column_type: sa.types.TypeEngine[Any], *, is_key: bool = False) -> sa.Column[Any]:
    quoted = sa.quoted_name(name, quote=True)
    return sa.Column(quoted, column_type, key=_key(name), primary_key=is_key, autoincrement=False)


def _key(name: str) -> str:
    """A name for parameters that no dialect stumbles over."""
    return "c_" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _keys(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, _key(name)) for name in names]


def _wait_for_others(connection: Connection, uri: TableUri) -> None:
    """One sink at a time writes a table: two would both make it. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        digest = hashlib.sha256(uri.table_name.encode()).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"The database's folder cannot be made: {error.strerror or type(error).__name__}."
        raise SinkError(what, where=str(path.parent), hint="choose a path that can be written") from error
