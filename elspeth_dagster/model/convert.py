"""One value at a time: text or a Python value to what a column's type holds, or a refusal with its reason.

Strict on purpose: ``12abc``, ``1_000``, ``nan`` and ``1e3`` as an integer are refused, never read as something near.
Blanks around numbers, dates and truth values are forgiven. Which field a value is of, and how a refusal is
reported, is left to ``columns``.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from uuid import UUID

from elspeth_dagster.model.json_values import TOO_LARGE, any_json, is_finite, parse_json, plain_text
from elspeth_dagster.model.refused import Refused
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX

DECIMAL_DIGITS_MAX = 1_000
"""No amount needs more; "1e999999" would otherwise be a million digits."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGER_DIGITS_MAX = len(str(SAFE_INTEGER_MAX))
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NO_NUMBERS = frozenset({"nan", "inf", "infinity"})

_NOT_FINITE = "is not a number that JSON has"
_TOO_LONG = f"has more than {DECIMAL_DIGITS_MAX} digits"


class ColumnType(StrEnum):
    """The types that a declaration may name."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    DATETIME = "datetime"
    DECIMAL = "decimal"
    JSON = "json"


def _no_number(text: str, what: str) -> Refused:
    if text.strip().lstrip("+-").lower() in _NO_NUMBERS:
        return Refused("not_a_number", _NOT_FINITE)
    return Refused("wrong_type", f"is not {what}")


def _safe(number: int) -> int:
    if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
        return number
    raise Refused("integer_too_large", TOO_LARGE)


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise Refused("not_a_number", _NOT_FINITE)


def _int_of_text(text: str) -> int:
    if len(text) < _INTEGER_DIGITS_MAX and text.isascii() and text.isdigit():
        return int(text)
    bare = text.strip()
    if not _INTEGER.fullmatch(bare):
        raise _no_number(text, "a whole number")
    digits = bare.lstrip("+-").lstrip("0") or "0"
    if len(digits) > _INTEGER_DIGITS_MAX:
        raise Refused("integer_too_large", TOO_LARGE)
    return _safe(-int(digits) if bare.startswith("-") else int(digits))


def _int_of_value(value: object) -> int:
    if type(value) is int:
        return _safe(value)
    if isinstance(value, float | Decimal):
        if not is_finite(value):
            raise Refused("not_a_number", _NOT_FINITE)
        if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            raise Refused("integer_too_large", TOO_LARGE)
        if value == int(value):
            return int(value)
    raise Refused("wrong_type", "is not a whole number")


def _float_of_text(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _no_number(text, "a number") from None
    if "_" in text or not text.strip().isascii():
        raise Refused("wrong_type", "is not a number")
    return _finite(number)


def _float_of_value(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int | Decimal):
        raise Refused("wrong_type", "is not a number")
    try:
        return _finite(float(value))
    except (OverflowError, ValueError):  # an integer of 400 digits; a signalling NaN
        raise Refused("not_a_number", "is beyond what a float holds") from None


def _bool_of_text(text: str) -> bool:
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise Refused("wrong_type", "is not a truth value (true, false, yes, no, 1, 0)")
    return found


def _bool_of_value(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise Refused("wrong_type", "is not true or false")


def _date(value: object) -> str:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    try:
        return dt.date.fromisoformat(plain_text(value).strip()).isoformat()
    except ValueError:
        raise Refused("wrong_type", "is not an ISO 8601 date, as 2026-01-31") from None


def _datetime(value: object) -> str:
    """A moment in UTC; one without a zone is UTC already. Finer than microseconds is cut, as Python's clock does."""
    try:
        moment = (
            value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(plain_text(value).strip())
        )
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return aware.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise Refused("wrong_type", "is not an ISO 8601 time, as 2026-01-31T09:30:00Z") from None


def _decimal(value: object) -> str:
    """The number's own digits, trailing zeros too (``1.50``), without exponent, plus sign or leading zeros."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Refused("wrong_type", "is not a decimal number")
    try:
        text = plain_text(repr(float(value)) if isinstance(value, float) else str(value)).strip()
    except ValueError:  # Python's own limit on the digits of an integer
        raise Refused("wrong_type", _TOO_LONG) from None
    if not _DECIMAL.fullmatch(text):
        raise _no_number(text, "a decimal number")
    number = _exact(text)
    return format(number or abs(number), "f")


def _exact(text: str) -> Decimal:
    try:
        number = Decimal(text[: DECIMAL_DIGITS_MAX + 1])
    except InvalidOperation:  # an exponent beyond what Decimal itself can hold
        raise Refused("wrong_type", _TOO_LONG) from None
    if len(text) > DECIMAL_DIGITS_MAX or abs(number.adjusted()) > DECIMAL_DIGITS_MAX:
        raise Refused("wrong_type", _TOO_LONG)
    return number


def _json_of_text(text: str) -> JSON:
    return any_json(parse_json(text))


def _text_of_typed(value: object) -> str:
    return str(value) if isinstance(value, UUID | dt.time) else plain_text(value)


def _bool_of_typed(value: object) -> bool:
    """A truth value; databases without a type for it say 0 and 1."""
    return bool(value) if type(value) is int and value in {0, 1} else _bool_of_value(value)


def _json_of_typed(value: object) -> JSON:
    """A structure as it is; text is JSON's own, since most tables keep it so."""
    return _json_of_text(plain_text(value)) if isinstance(value, str) else any_json(value)


_SHARED: dict[ColumnType, Callable[..., JSON]] = {
    ColumnType.STR: plain_text,
    ColumnType.DATE: _date,
    ColumnType.DATETIME: _datetime,
    ColumnType.DECIMAL: _decimal,
}
FROM_TEXT: dict[ColumnType, Callable[..., JSON]] = {
    **_SHARED,
    ColumnType.INT: _int_of_text,
    ColumnType.FLOAT: _float_of_text,
    ColumnType.BOOL: _bool_of_text,
    ColumnType.JSON: _json_of_text,
}
FROM_VALUE: dict[ColumnType, Callable[..., JSON]] = {
    **_SHARED,
    ColumnType.INT: _int_of_value,
    ColumnType.FLOAT: _float_of_value,
    ColumnType.BOOL: _bool_of_value,
    ColumnType.JSON: any_json,
}
FROM_TYPED: dict[ColumnType, Callable[..., JSON]] = {
    **FROM_VALUE,
    ColumnType.STR: _text_of_typed,
    ColumnType.BOOL: _bool_of_typed,
    ColumnType.JSON: _json_of_typed,
}
"""What a table's columns hold: typed values, of more types than JSON has."""
