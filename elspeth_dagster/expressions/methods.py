"""The few methods that a value may be called with: `row.name.strip()`, `row.address.items()`.

A call is never ambiguous, for no JSON value can be called: `row.address.items` is the field, `row.address.items()` the
method. Every other method of Python's strings stays out of reach, `format` above all.
"""

from __future__ import annotations

from collections.abc import Callable

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import sequence_filters, text_filters
from elspeth_dagster.expressions.limits import Meter
from elspeth_dagster.expressions.values import kind_name
from elspeth_dagster.model.row import JSON

Method = Callable[..., JSON]


def _stripped(strip: Callable[[str, str | None], str]) -> Method:
    def run(meter: Meter, text: str, chars: JSON = None) -> JSON:
        meter.spend_text(len(text))
        return strip(text, text_filters.trimmed_chars(chars))

    return run


def _startswith(meter: Meter, text: str, start: JSON) -> JSON:
    meter.spend_text(len(text))
    return text.startswith(_needed_text(start, "startswith"))


def _endswith(meter: Meter, text: str, end: JSON) -> JSON:
    meter.spend_text(len(text))
    return text.endswith(_needed_text(end, "endswith"))


def _split(meter: Meter, text: str, separator: JSON = None) -> JSON:
    meter.spend(len(text) // text_filters.CHARS_PER_WORD)
    return [*text.split(None if separator is None else _needed_text(separator, "split"))]


def _splitlines(meter: Meter, text: str) -> JSON:
    meter.spend(len(text) // text_filters.CHARS_PER_WORD)
    return [*text.splitlines()]


def _join(meter: Meter, text: str, items: JSON) -> JSON:
    return sequence_filters.join(meter, items, text)


def _items(meter: Meter, value: dict[str, JSON]) -> JSON:
    return sequence_filters.to_items(meter, value)


def _keys(meter: Meter, value: dict[str, JSON]) -> JSON:
    meter.spend(len(value))
    return [*value]


def _values(meter: Meter, value: dict[str, JSON]) -> JSON:
    meter.spend(len(value))
    return [*value.values()]


TEXT_METHODS: dict[str, Method] = {
    "lower": text_filters.lower,
    "upper": text_filters.upper,
    "strip": _stripped(str.strip),
    "lstrip": _stripped(str.lstrip),
    "rstrip": _stripped(str.rstrip),
    "startswith": _startswith,
    "endswith": _endswith,
    "split": _split,
    "splitlines": _splitlines,
    "replace": text_filters.replace,
    "join": _join,
}

OBJECT_METHODS: dict[str, Method] = {"items": _items, "keys": _keys, "values": _values}


def method_of(value: JSON, name: str) -> Method:
    """The method ``name`` of a text or an object.

    Raises:
        ExpressionError: a value of this type has none of that name.
    """
    methods = TEXT_METHODS if isinstance(value, str) else OBJECT_METHODS if isinstance(value, dict) else {}
    if name in methods:
        return methods[name]
    raise ExpressionError(f"A value of type {kind_name(value)} has no method {name!r}.")


def _needed_text(value: JSON, name: str) -> str:
    if isinstance(value, str):
        return value
    raise ExpressionError(f"{name!r} needs a text, not a {kind_name(value)}.")
