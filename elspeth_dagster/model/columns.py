"""Declared columns: what a source's fields must be, and the one place that turns text into typed values.

A source coerces, nothing else does. A record that does not fit gives every violation, never a guess: an unreadable
value is not replaced, rounded away or dropped. A null, an absent field and an empty text cell are missing, which
only an optional column allows. Where records come from, and where unfit ones go, is left to others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Literal

from elspeth_dagster.model.convert import FROM_TEXT, FROM_TYPED, FROM_VALUE, ColumnType
from elspeth_dagster.model.json_values import any_json, plain_text
from elspeth_dagster.model.refused import Refused, ViolationCode
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.suggest import suggest

__all__ = [
    "Column",
    "ColumnType",
    "ExtraColumns",
    "RowReader",
    "Violation",
    "ViolationCode",
    "coerce",
    "parse_columns",
    "violation",
]

ExtraColumns = Literal["keep", "drop", "refuse"]

MESSAGE_CHARS_MAX = 200
"""A violation's message is read in tables and logs: one line of a screen, or two."""

SHOWN_CHARS_MAX = 100
"""A message quotes at most this much of a value: enough to recognise it, and its reason still fits."""

FIELD_CHARS_MAX = 200
"""A violation's field may be a key that the file made up, and that can be any text."""

_TYPES = {kind.value: kind for kind in ColumnType}
_TYPE_NAMES = {
    NoneType: "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column. An ``optional`` one may be missing: the row then holds null."""

    name: str
    type: ColumnType
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a record does not fit. ``field`` is None where the whole record is meant.

    ``message`` may quote the value (shortened), so it is content; the other fields are names only.
    """

    field: str | None
    expected: str
    actual_type: str
    code: ViolationCode
    message: str


def parse_columns(mapping: Mapping[str, str]) -> tuple[Column, ...]:
    """Columns as declared: ``{"id": "int", "amount": "float?"}``, where ``?`` marks what may be missing.

    Raises:
        ValueError: names every mistake at once.
    """
    mistakes: list[str] = []
    columns: list[Column] = []
    for name, declared in mapping.items():
        word = declared.strip() if isinstance(declared, str) else ""
        kind = _TYPES.get(word.removesuffix("?").rstrip())
        if not isinstance(name, str) or not name or name != name.strip():
            mistakes.append(f"A column's name must be text without blanks around it, not {name!r}.")
        elif kind is None:
            near = suggest(word.removesuffix("?").lower(), list(_TYPES))
            mistakes.append(
                f"Column {name!r} has the unknown type {declared!r}; types are {', '.join(_TYPES)}.{near}"
            )
        else:
            columns.append(Column(name, kind, word.endswith("?")))
    if mistakes:
        raise ValueError(" ".join(mistakes))
    return tuple(columns)


def coerce(
    record: Mapping[str, object], columns: Sequence[Column], *, extra: ExtraColumns, from_text: bool
) -> tuple[Row | None, tuple[Violation, ...]]:
    """One record through ``columns``. For many records, make one ``RowReader`` and call it."""
    return RowReader(columns, extra=extra, from_text=from_text)(record)


class RowReader:
    """Columns made ready for many records: call it with a record; get a row, or None and every violation.

    The row has the declared columns in declared order, then (``extra="keep"``) the others in the record's order.
    With ``from_text`` the record's values are all text, as in CSV; ``from_table`` they have a table's types; otherwise
    JSON's or Python's own.
    """

    __slots__ = ("_columns", "_convert_extra", "_extra", "_names", "_plan", "_text")

    def __init__(
        self, columns: Sequence[Column], *, extra: ExtraColumns, from_text: bool, from_table: bool = False
    ) -> None:
        converters = FROM_TEXT if from_text else FROM_TYPED if from_table else FROM_VALUE
        self._columns = tuple(columns)
        self._names = frozenset(column.name for column in columns)
        self._plan = [(column.name, converters[column.type], column.optional) for column in columns]
        self._extra = extra
        self._convert_extra: Callable[[object], JSON] = plain_text if from_text else any_json
        self._text = from_text

    def __call__(self, record: Mapping[str, object]) -> tuple[Row | None, tuple[Violation, ...]]:
        """The row, or None and what is wrong. Hopeful first: only a record that fails is judged field by field."""
        row: Row = {}
        text = self._text
        try:
            for name, convert, optional in self._plan:
                value = record.get(name)
                if value is None or (text and not value):
                    if not optional:
                        return self._judged(record)
                    row[name] = None
                else:
                    row[name] = convert(value)
            if self._extra == "drop" or row.keys() >= record.keys():
                return row, ()
            if self._extra == "refuse":
                return self._judged(record)
            for name, value in record.items():
                if name not in self._names:
                    row[plain_text(name)] = self._convert_extra(value)
        except Refused:
            return self._judged(record)
        return row, ()

    def _judged(self, record: Mapping[str, object]) -> tuple[Row | None, tuple[Violation, ...]]:
        row: Row = {}
        violations: list[Violation] = []
        for column, (name, convert, optional) in zip(self._columns, self._plan, strict=True):
            value = record.get(name)
            if self._is_missing(value, column.type):
                row[name] = None
                if not optional:
                    violations.append(self._missing(column, present=name in record))
                continue
            try:
                row[name] = convert(value)
            except Refused as refused:
                violations.append(
                    violation(name, value, refused, expected=column.type.value, text=self._text)
                )
        if self._extra != "drop":
            violations.extend(self._extras(record, row))
        return (None, tuple(violations)) if violations else (row, ())

    def _is_missing(self, value: object, kind: ColumnType) -> bool:
        if not self._text or not isinstance(value, str):
            return value is None
        return not value or (kind is not ColumnType.STR and not value.strip())

    def _missing(self, column: Column, *, present: bool) -> Violation:
        actual = ("text" if self._text else "null") if present else "missing"
        found = ("is empty" if self._text else "is null") if present else "is not there"
        message = f"{_shown(column.name)} {found}, and is not declared as optional ('{column.type}?')."
        return Violation(column.name, column.type.value, actual, "missing_field", message)

    def _extras(self, record: Mapping[str, object], row: Row) -> Iterator[Violation]:
        """What is wrong with undeclared fields; those that are right go into ``row``."""
        for name, value in record.items():
            if name in self._names:
                continue
            if self._extra == "refuse":
                yield self._undeclared(name, value)
                continue
            try:
                row[plain_text(name)] = self._convert_extra(value)
            except Refused as refused:
                yield violation(name, value, refused, expected="json", text=self._text)

    def _undeclared(self, name: str, value: object) -> Violation:
        message = f"{_shown(name)} is not a declared column.{suggest(name, sorted(self._names))}"
        actual = _type_name(value, text=self._text)
        return Violation(
            _printable(name), "no such field", actual, "extra_field", message[:MESSAGE_CHARS_MAX]
        )


def violation(field: str | None, value: object, refused: Refused, *, expected: str, text: bool) -> Violation:
    """What ``refused`` says about ``value``, as a violation of ``field`` (extended by the path inside it)."""
    path = None if field is None else _printable(f"{field}{refused.path}")
    message = f"{_shown(value)} {refused.why}."[:MESSAGE_CHARS_MAX]
    return Violation(path, expected, _type_name(value, text=text), refused.code, message)


def _type_name(value: object, *, text: bool) -> str:
    return "text" if text else _TYPE_NAMES.get(type(value), type(value).__name__)


def _printable(name: str) -> str:
    """A foreign name as short text that every database holds: a lone surrogate or NUL character is written out."""
    return name[:FIELD_CHARS_MAX].encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _shown(value: object) -> str:
    try:
        shown = repr(value[:SHOWN_CHARS_MAX]) if isinstance(value, str) else repr(value)
    except (
        ValueError,
        RecursionError,
    ):  # an integer too long, or a value nested too deeply, to be written out
        return f"a {type(value).__name__}"
    return shown if len(shown) <= SHOWN_CHARS_MAX else f"{shown[:SHOWN_CHARS_MAX]}…"
