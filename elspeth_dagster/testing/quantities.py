"""Numbers within a schema's bounds. Without bounds they are small: 0 to 100. A confidence is 0.5 to 0.99."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal

from elspeth_dagster.testing.draws import draw, uniform
from elspeth_dagster.testing.schema import Schema, SchemaError

WIDTH = 100
"""How wide the range is when the schema leaves it open."""

WIDTH_MAX = 1_000_000
"""Wider ranges are used at their low end: the difference of two huge floats may be infinite."""

BOUND_MAX = 1e300
"""Beyond it, sums of floats overflow."""

_DIGITS = 2
_CONFIDENCE = re.compile(r"confidence|probability|certainty|likelihood", re.IGNORECASE)
_CONFIDENCE_LOW, _CONFIDENCE_HIGH = 0.5, 0.99


@dataclass(frozen=True, slots=True)
class _Range:
    """From ``low`` to ``high``; None is no bound, an open bound is not part of it."""

    low: float | None
    high: float | None
    low_open: bool
    high_open: bool


def integer_for(schema: Schema, *, key: bytes, path: str) -> int:
    """A whole number within the bounds, and a multiple where one is asked for.

    Raises:
        SchemaError: there is none.
    """
    given = _range(schema)
    least = None if given.low is None else math.ceil(given.low)
    most = None if given.high is None else math.floor(given.high)
    if given.low_open and least == given.low and least is not None:
        least += 1
    if given.high_open and most == given.high and most is not None:
        most -= 1
    step = _number(schema, "multipleOf") or 1
    if step != int(step) or step < 1:
        raise SchemaError("a whole number is a multiple of whole numbers only")
    low, high = _closed(least, most, width=WIDTH * int(step))
    first, last = -(-int(low) // int(step)), int(high) // int(step)
    if first > last:
        raise SchemaError("no whole number is within its bounds")
    return int(step) * (first + draw(key, path) % (last - first + 1))


def number_for(schema: Schema, *, key: bytes, path: str) -> float:
    """A number within the bounds, with two decimals where they allow it.

    Raises:
        SchemaError: there is none.
    """
    given = _range(schema)
    if _CONFIDENCE.search(path.rpartition(".")[2]):
        given = _confident(given)
    step = _number(schema, "multipleOf")
    low, high = _closed(given.low, given.high, width=WIDTH * max(1, step or 1))
    if low > high or (low == high and (given.low_open or given.high_open)):
        raise SchemaError("no number is within its bounds")
    if step is not None:
        return _multiple(low, high, step, key=key, path=path)
    point = low + uniform(key, path) * min(high - low, WIDTH_MAX)
    value = min(max(round(point, _DIGITS), low), high)
    if (given.low_open and value == low) or (given.high_open and value == high):
        value = low + (high - low) / 2
        if value in (low, high):
            raise SchemaError("no number is within its bounds")
    return value


def _range(schema: Schema) -> _Range:
    low, above = _number(schema, "minimum"), _number(schema, "exclusiveMinimum")
    high, below = _number(schema, "maximum"), _number(schema, "exclusiveMaximum")
    low_open = above is not None and (low is None or above >= low)
    high_open = below is not None and (high is None or below <= high)
    return _Range(above if low_open else low, below if high_open else high, low_open, high_open)


def _number(schema: Schema, keyword: str) -> float | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= BOUND_MAX:
        raise SchemaError(f"its {keyword!r} is no number to count with")
    return value


def _closed(low: float | None, high: float | None, *, width: float) -> tuple[float, float]:
    """The range with its open ends closed: 0 to ``width`` as far as the bounds allow."""
    if low is None and high is None:
        return 0, width
    if low is None:
        assert high is not None  # noqa: S101 - for the type checker: both None was handled above
        return (0 if high >= 0 else high - width), high
    if high is None:
        return low, (width if low < width else low + width)
    return low, high


def _confident(given: _Range) -> _Range:
    if (given.high or 1) > 1 or (given.low or 0) > _CONFIDENCE_HIGH:
        return given
    low = _CONFIDENCE_LOW if given.low is None else max(given.low, _CONFIDENCE_LOW)
    high = _CONFIDENCE_HIGH if given.high is None else min(given.high, _CONFIDENCE_HIGH)
    return replace(given, low=low, high=high) if low < high else given


def _multiple(low: float, high: float, step: float, *, key: bytes, path: str) -> float:
    """A multiple of ``step``, counted in decimals so that 3 times 0.1 is 0.3."""
    if step <= 0:
        raise SchemaError("'multipleOf' is above 0")
    exact = Decimal(str(step))
    first = math.ceil(Decimal(str(low)) / exact)
    last = math.floor(Decimal(str(high)) / exact)
    if first > last:
        raise SchemaError("no multiple is within its bounds")
    return float(exact * (first + draw(key, path) % (last - first + 1)))
