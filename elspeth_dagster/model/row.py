"""Rows are plain JSON objects; this module says what that is, and turns what is nearly JSON into it.

Types that JSON lacks are normalised where a row is made (at the source, or by a step): datetime to UTC ISO 8601,
Decimal and UUID to string, enumerations to their value, NumPy and pandas scalars to the Python scalar, NaT and NA to
null.
What has no faithful JSON form (NaN, Infinity, sets, bytes, durations, keys that are not strings, integers beyond
2^53-1, lone surrogates) is refused with the field named.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from elspeth_dagster.errors import NotJSONError

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Row = dict[str, JSON]

SAFE_INTEGER_MAX = 2**53 - 1
"""Beyond it, two integers can share one double: RFC 8785 canonical JSON could not tell them apart."""

DEPTH_MAX = 64
"""Deeper nesting than any real row; keeps recursion far from Python's limit."""

_MISSING = frozenset({"NaTType", "NAType", "MaskedConstant"})


def normalised(row: Mapping[str, object]) -> Row:
    """Return ``row`` as plain JSON.

    Raises:
        NotJSONError: a value has no faithful JSON form; names its field, as in ``address.lines[2]``.
    """
    return {_key(key, ""): _value(value, str(key), 0) for key, value in row.items()}


def _value(value: object, field: str, depth: int) -> JSON:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return _text(value, field)  # type: ignore[arg-type]
    if kind is int:
        return _integer(value, field)  # type: ignore[arg-type]
    if kind is float:
        return _finite(value, field)  # type: ignore[arg-type]
    if depth >= DEPTH_MAX:
        raise NotJSONError(f"A row nests at most {DEPTH_MAX} levels.", field=field)
    if isinstance(value, Mapping):
        return {_key(k, field): _value(v, f"{field}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, f"{field}[{i}]", depth + 1) for i, item in enumerate(value)]
    return _foreign(value, field, depth)


def _foreign(value: object, field: str, depth: int) -> JSON:
    """Types of other worlds: dates, decimals, NumPy and pandas scalars, subclasses of the plain types."""
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, dt.datetime):
        return _instant(value, field)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise NotJSONError(f"{value} is not a number that JSON has.", field=field)
        return str(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        return _text(_plain(value), field)
    if isinstance(value, int):
        return _integer(int(value), field)
    if isinstance(value, float):
        return _finite(float(value), field)
    if hasattr(value, "dtype") and hasattr(value, "item") and not isinstance(value, type):
        return _array(value, field, depth)
    raise _no_form(value, field)


def _array(value: Any, field: str, depth: int) -> JSON:
    """What NumPy or pandas holds: one scalar, or a list of them."""
    if getattr(value, "shape", ()) != ():
        return _value(list(value), field, depth)
    scalar, kind = value.item(), getattr(value.dtype, "kind", "")
    # Nanoseconds come as a bare integer, microseconds as a moment.
    if kind == "M" and isinstance(scalar, int):
        scalar = value.astype("datetime64[us]").item()
    if kind == "m" or type(scalar) is type(value) or (kind == "M" and isinstance(scalar, int)):
        raise _no_form(value, field)
    return _value(scalar, field, depth + 1)


def _no_form(value: object, field: str) -> NotJSONError:
    return NotJSONError(f"A {type(value).__name__} has no JSON form.", field=field)


def _key(key: object, field: str) -> str:
    if not isinstance(key, str):
        raise NotJSONError(f"A key must be a string, not {type(key).__name__}.", field=field or repr(key))
    return _text(_plain(key), f"{field}.{key!r}" if field else repr(key))


def _plain(text: str) -> str:
    """The text itself, not what a subclass makes of it: an enumeration's member shows its name instead."""
    return str.__str__(text)


def _text(text: str, field: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotJSONError(
                "The text has a lone surrogate, which UTF-8 cannot hold.", field=field
            ) from None
    return text


def _integer(number: int, field: str) -> int:
    if -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
        return number
    shown = f"{number:.3e}" if number.bit_length() < sys.float_info.max_exp else "An integer this long"
    raise NotJSONError(f"{shown} is beyond the integers that JSON holds exactly (2^53-1).", field=field)


def _finite(number: float, field: str) -> float:
    if math.isfinite(number):
        return number
    raise NotJSONError(f"{number} is not a number that JSON has.", field=field)


def _instant(moment: dt.datetime, field: str) -> str:
    """A moment in UTC; one without a zone is taken as UTC already."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    try:
        return aware.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise NotJSONError(
            f"{moment.isoformat()} is outside the years of UTC's calendar.", field=field
        ) from None
