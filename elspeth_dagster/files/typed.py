"""Rows to typed columns, for what has types where JSON has none: which types all rows fit, and a value in its type.

A declaration tells most types; functions and expressions make what nobody declared. So every row is looked at before
the first is written: a column gets the declared type if all of its values fit, else the narrowest that they all have.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Final

from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX, Row

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def typed(value: JSON, kind: ColumnType) -> object:
    """``value`` as a column of this type takes it: a date, a moment with its zone, a Decimal, JSON as text.

    Raises:
        ValueError: it does not fit; the text says how, and does not show the value.
    """
    if value is None:
        return None
    try:
        return _TYPED[kind](value)
    except (ValueError, TypeError, ArithmeticError):
        raise ValueError(f"a {_name(value)} that is no {kind.value}") from None


class Shape:
    """The types of columns, as far as the rows that were added tell. ``hints`` are those declared on the way."""

    def __init__(self, hints: Mapping[str, str]) -> None:
        self._hints = {name: kind for name, word in hints.items() if (kind := _kind(word)) is not None}
        self._found: dict[str, set[type]] = {}
        self._misfits: set[str] = set()
        self._read = {name: kind for name, kind in self._hints.items() if kind in _READ_FROM_TEXT}

    def add(self, row: Row) -> None:
        """Look at one more row."""
        for name, value in row.items():
            kind: type = type(value)
            if kind is int and not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:  # type: ignore[operator]
                kind = float  # a large float comes back from JSON as an integer
            found = self._found.get(name)
            if found is None:
                self._found[name] = {kind}
            else:
                found.add(kind)
            hint = self._read.get(name)
            if hint is not None and value is not None and name not in self._misfits:
                try:
                    typed(value, hint)
                except ValueError:
                    self._misfits.add(name)

    def columns(self, names: Sequence[str]) -> dict[str, ColumnType]:
        """All columns and their types: ``names`` first, then what else the rows have."""
        others = [name for name in self._found if name not in set(names)]
        return {name: self._type(name) for name in (*names, *others)}

    def _type(self, name: str) -> ColumnType:
        found, hint = self._found.get(name, set()) - {NoneType}, self._hints.get(name)
        if not found:
            return hint or ColumnType.STR
        if hint in _READ_FROM_TEXT and name not in self._misfits:
            return hint
        if hint is ColumnType.JSON:
            return hint
        if found == {int}:
            return ColumnType.FLOAT if hint is ColumnType.FLOAT else ColumnType.INT
        if found <= {int, float}:
            return ColumnType.FLOAT
        return {frozenset({str}): ColumnType.STR, frozenset({bool}): ColumnType.BOOL}.get(
            frozenset(found), ColumnType.JSON
        )


def _kind(word: str) -> ColumnType | None:
    try:
        return ColumnType(word.strip().removesuffix("?").rstrip())
    except ValueError:
        return None


def _name(value: JSON) -> str:
    return {dict: "structure", list: "list", str: "text", bool: "truth value"}.get(type(value), "number")


def _of(*kinds: type) -> Callable[[JSON], object]:
    def same(value: JSON) -> object:
        if type(value) not in kinds:
            raise TypeError
        return value

    return same


def _float(value: JSON) -> float:
    if type(value) not in {int, float}:
        raise TypeError
    return float(value)  # type: ignore[arg-type]


def _int(value: JSON) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
        raise TypeError
    return value


def _date(value: JSON) -> dt.date:
    return dt.date.fromisoformat(str(_of(str)(value)))


def _datetime(value: JSON) -> dt.datetime:
    moment = dt.datetime.fromisoformat(str(_of(str)(value)))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _decimal(value: JSON) -> Decimal:
    try:
        number = Decimal(str(_of(str, int)(value)))
    except InvalidOperation:
        raise ValueError from None
    if not number.is_finite():
        raise ValueError
    return number


_TYPED: Final[Mapping[ColumnType, Callable[[JSON], object]]] = {
    ColumnType.STR: _of(str),
    ColumnType.INT: _int,
    ColumnType.FLOAT: _float,
    ColumnType.BOOL: _of(bool),
    ColumnType.DATE: _date,
    ColumnType.DATETIME: _datetime,
    ColumnType.DECIMAL: _decimal,
    ColumnType.JSON: _JSON.encode,
}
_READ_FROM_TEXT: Final = frozenset({ColumnType.DATE, ColumnType.DATETIME, ColumnType.DECIMAL})
