"""One value at a time: text or a Python value to what a column's type holds, or a refusal with its reason.

Strict on purpose: ``12abc``, ``1_000``, ``nan`` and ``1e3`` as an integer are refused, never read as something near.
Blanks around numbers, dates and truth values are forgiven. Which field a value is of, and how a refusal is
reported, is left to ``columns``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.row import DEPTH_MAX, JSON, SAFE_INTEGER_MAX, normalised

ViolationCode = Literal[
    "missing_field",
    "wrong_type",
    "not_a_number",
    "integer_too_large",
    "extra_field",
    "too_few_fields",
    "too_many_fields",
    "cell_too_large",
    "row_too_large",
    "more_violations",
    "nul_character",
    "not_utf8",
    "bad_quoting",
    "not_json",
    "not_an_object",
    "duplicate_key",
]

DECIMAL_DIGITS_MAX = 1_000
"""No amount needs more; "1e999999" would otherwise be a million digits."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGER_DIGITS_MAX = len(str(SAFE_INTEGER_MAX))
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NO_NUMBERS = frozenset({"nan", "inf", "infinity"})

_NOT_FINITE = "is not a number that JSON has"
_TOO_LARGE = "is beyond the integers that JSON holds exactly (2^53-1)"
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


class Refused(Exception):  # noqa: N818 - a signal between readers, never an error that users see
    """One value that is not what it should be. ``why`` completes a sentence that begins with the value."""

    def __init__(self, code: ViolationCode, why: str, *, path: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.path = path


def parse_json(text: str) -> JSON:
    """JSON text as a value; duplicate keys are refused. NaN and Infinity pass: ``any_json`` says where they are.

    Raises:
        Refused: ``not_json``, ``duplicate_key`` or ``integer_too_large``.
    """
    try:
        parsed: JSON = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refused("not_json", f"is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Refused("not_json", f"nests deeper than {DEPTH_MAX} levels") from None
    except ValueError:  # Python's own limit on the digits of an integer
        raise Refused("integer_too_large", "holds an integer beyond 2^53-1") from None
    return parsed


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Refused("duplicate_key", f"has the key {twice[:40]!r} more than once")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_pairs)


def plain_text(value: object) -> str:
    """``value``, which must be text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise Refused("wrong_type", "is not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("not_utf8", "has a character that UTF-8 cannot hold") from None
    return value


def _no_number(text: str, what: str) -> Refused:
    if text.strip().lstrip("+-").lower() in _NO_NUMBERS:
        return Refused("not_a_number", _NOT_FINITE)
    return Refused("wrong_type", f"is not {what}")


def _safe(number: int) -> int:
    if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
        return number
    raise Refused("integer_too_large", _TOO_LARGE)


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise Refused("not_a_number", _NOT_FINITE)


def _is_finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def _int_of_text(text: str) -> int:
    if len(text) < _INTEGER_DIGITS_MAX and text.isascii() and text.isdigit():
        return int(text)
    bare = text.strip()
    if not _INTEGER.fullmatch(bare):
        raise _no_number(text, "a whole number")
    digits = bare.lstrip("+-").lstrip("0") or "0"
    if len(digits) > _INTEGER_DIGITS_MAX:
        raise Refused("integer_too_large", _TOO_LARGE)
    return _safe(-int(digits) if bare.startswith("-") else int(digits))


def _int_of_value(value: object) -> int:
    if type(value) is int:
        return _safe(value)
    if isinstance(value, float | Decimal):
        if not _is_finite(value):
            raise Refused("not_a_number", _NOT_FINITE)
        if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            raise Refused("integer_too_large", _TOO_LARGE)
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


def any_json(value: object) -> JSON:
    """``value`` as plain JSON.

    Raises:
        Refused: with the ``path`` of the first flaw inside it.
    """
    if type(value) is str:
        return plain_text(value)
    try:
        return normalised({"": value})[""]
    except NotJSONError as error:
        why = f"has no JSON form: {error.what.rstrip('.')}"
        raise Refused(_flaw(value) or "wrong_type", why, path=error.field) from None
    except OverflowError:  # an integer too long to be described
        raise Refused("integer_too_large", _TOO_LARGE) from None


def _flaw(value: object, depth: int = 0) -> ViolationCode | None:
    """The code of the first flaw inside ``value``, found in the order in which ``normalised`` looks."""
    if isinstance(value, str):
        return None if value.isascii() or value.encode(errors="ignore").decode() == value else "not_utf8"
    if isinstance(value, int):
        return None if abs(value) <= SAFE_INTEGER_MAX else "integer_too_large"
    if isinstance(value, float | Decimal):
        return None if _is_finite(value) else "not_a_number"
    if not isinstance(value, Mapping | list | tuple):
        return None
    if depth >= DEPTH_MAX:
        return "not_json"
    parts = [part for pair in value.items() for part in pair] if isinstance(value, Mapping) else value
    return next((code for part in parts if (code := _flaw(part, depth + 1))), None)


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
