"""JSON values as they come from outside: parsed strictly, or refused with the reason and the first flaw's place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.refused import Refused, ViolationCode
from elspeth_dagster.model.row import DEPTH_MAX, JSON, SAFE_INTEGER_MAX, normalised

TOO_LARGE = "is beyond the integers that JSON holds exactly (2^53-1)"


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
        raise Refused("integer_too_large", TOO_LARGE) from None


def _flaw(value: object, depth: int = 0) -> ViolationCode | None:
    """The code of the first flaw inside ``value``, found in the order in which ``normalised`` looks."""
    if isinstance(value, str):
        return None if value.isascii() or value.encode(errors="ignore").decode() == value else "not_utf8"
    if isinstance(value, int):
        return None if abs(value) <= SAFE_INTEGER_MAX else "integer_too_large"
    if isinstance(value, float | Decimal):
        return None if is_finite(value) else "not_a_number"
    if not isinstance(value, Mapping | list | tuple):
        return None
    if depth >= DEPTH_MAX:
        return "not_json"
    parts = [part for pair in value.items() for part in pair] if isinstance(value, Mapping) else value
    return next((code for part in parts if (code := _flaw(part, depth + 1))), None)


def is_finite(number: float | Decimal) -> bool:
    """Whether it is a number that JSON has."""
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)
