"""The types of a sink's table: which a new table gets, and how a row's value is bound to a column that is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from elspeth_dagster.files.typed import typed
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import JSON

Bind = Callable[[JSON], object]

_NEW: Final[dict[ColumnType, sa.types.TypeEngine[Any]]] = {
    ColumnType.STR: sa.Text(),
    ColumnType.INT: sa.BigInteger(),
    ColumnType.FLOAT: sa.Double(),
    ColumnType.BOOL: sa.Boolean(),
    ColumnType.DATE: sa.Date().with_variant(sa.Text(), "sqlite"),
    ColumnType.DATETIME: sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite"),
    # Exact digits: SQLite would make a float of a number.
    ColumnType.DECIMAL: sa.Text().with_variant(sa.Numeric(), "postgresql"),
    ColumnType.JSON: sa.JSON(none_as_null=True),
}


def new_type(kind: ColumnType) -> sa.types.TypeEngine[Any]:
    """The type of a column in a table that the sink makes."""
    return _NEW[kind]


def binder(column_type: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Bind:
    """What makes a row's value fit a column, or refuses it with a ``ValueError`` that does not show it."""
    kind = column_type.dialect_impl(dialect)
    if isinstance(kind, sa.types.JSON):
        return lambda value: value
    for base, bind in _BINDS:
        if isinstance(kind, base):
            return bind
    return _as_it_is


def _text(value: JSON) -> object:
    return value if value is None or isinstance(value, str) else typed(value, ColumnType.JSON)


def _number(value: JSON) -> object:
    return typed(str(value) if isinstance(value, float) else value, ColumnType.DECIMAL)


def _whole(value: JSON) -> object:
    return typed(int(value) if isinstance(value, bool) else value, ColumnType.INT)


def _moment(kind: ColumnType) -> Bind:
    def bind(value: JSON) -> object:
        moment = typed(value, kind)
        return moment.astimezone(dt.UTC) if isinstance(moment, dt.datetime) else moment

    return bind


def _uuid(value: JSON) -> object:
    try:
        return None if value is None else UUID(str(value))
    except ValueError:
        raise ValueError("a text that is no UUID") from None


def _as_it_is(value: JSON) -> object:
    return typed(value, ColumnType.JSON) if isinstance(value, dict | list) else value


_BINDS: Final[tuple[tuple[type[sa.types.TypeEngine[Any]], Bind], ...]] = (
    (sa.types.Boolean, lambda value: typed(value, ColumnType.BOOL)),
    (sa.types.Integer, _whole),
    (sa.types.Float, lambda value: typed(value, ColumnType.FLOAT)),
    (sa.types.Numeric, _number),
    (sa.types.DateTime, _moment(ColumnType.DATETIME)),
    (sa.types.Date, _moment(ColumnType.DATE)),
    (sa.types.Uuid, _uuid),
    (sa.types.String, _text),
)
