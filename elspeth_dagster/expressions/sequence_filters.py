"""Filters that take a list (or an object's keys, or a text's characters) and give a list, an item or a number.

They work on whole lists at once, never lazily: what is counted is what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import CHARS_PER_STEP, Meter
from elspeth_dagster.expressions.operators import ARITHMETIC
from elspeth_dagster.expressions.values import (
    MISSING,
    Maybe,
    absent,
    item,
    items_of,
    kind_name,
    shown,
    text_of,
    weigh,
)
from elspeth_dagster.model.row import JSON

T = TypeVar("T")

PATH_CHARS_MAX = 500
"""The longest attribute path; it is taken apart for every item of a list."""


def at_path(value: JSON, path: JSON) -> Maybe:
    """What ``value`` has under a dotted path such as ``address.city`` or ``0.name``, or `MISSING`."""
    if isinstance(path, int):
        return item(value, path)
    if not isinstance(path, str) or len(path) > PATH_CHARS_MAX:
        raise ExpressionError(f"An attribute is named by a short text, not by {shown(path)}.")
    found: Maybe = value
    for step in path.split("."):
        if found is MISSING:
            return MISSING
        found = item(found, int(step) if step.isdecimal() else step)
    return found


def required_at(value: JSON, path: JSON) -> JSON:
    """What ``value`` has under ``path``; the value itself when ``path`` is null."""
    if path is None:
        return value
    found = at_path(value, path)
    if found is MISSING:
        raise absent(value, path)
    return found


def length(_meter: Meter, value: JSON) -> JSON:
    """How many items, keys or characters."""
    if isinstance(value, list | dict | str):
        return len(value)
    raise ExpressionError(f"A {kind_name(value)} has no length.")


def first(meter: Meter, value: JSON) -> Maybe:
    """The first item; missing when there is none."""
    items = _indexable(meter, value, "take the first of")
    return items[0] if items else MISSING


def last(meter: Meter, value: JSON) -> Maybe:
    """The last item; missing when there is none."""
    items = _indexable(meter, value, "take the last of")
    return items[-1] if items else MISSING


def to_list(meter: Meter, value: JSON) -> JSON:
    """The items, keys or characters as a list."""
    return list(items_of(value, meter, act="make a list of"))


def to_items(meter: Meter, value: JSON) -> JSON:
    """The fields of an object as ``[name, value]`` pairs, for ``{% for name, value in row.address|items %}``."""
    if not isinstance(value, dict):
        raise ExpressionError(f"'items' needs an object, not a {kind_name(value)}.")
    meter.spend(len(value))
    return [[key, part] for key, part in value.items()]


def reverse(meter: Meter, value: JSON) -> JSON:
    """The same, last first; a text stays a text."""
    if isinstance(value, str):
        return text_of(value, meter)[::-1]
    return items_of(value, meter, act="reverse")[::-1]


def join(meter: Meter, value: JSON, d: JSON = "", attribute: JSON = None) -> JSON:
    """The items printed one after the other, ``d`` between them."""
    between = text_of(d, meter)
    parts = [
        text_of(required_at(part, attribute), meter)
        for part in items_of(value, meter, act="join the items of")
    ]
    meter.spend_text(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def sort(
    meter: Meter, value: JSON, reverse: JSON = None, case_sensitive: JSON = None, attribute: JSON = None
) -> JSON:
    """The items in ascending order, or descending with ``reverse``; equal ones keep their order."""
    items = items_of(value, meter, act="sort")
    meter.spend(weigh(value, meter) // CHARS_PER_STEP * len(items).bit_length())
    key = _ordering_key(attribute, case_sensitive)
    return _ordered("sort", lambda: sorted(items, key=key, reverse=bool(reverse)))


def minimum(meter: Meter, value: JSON, case_sensitive: JSON = None, attribute: JSON = None) -> Maybe:
    """The least item; missing when there is none."""
    items = _weighed_items(meter, value, "take the least of")
    key = _ordering_key(attribute, case_sensitive)
    return _ordered("min", lambda: min(items, key=key, default=MISSING))


def maximum(meter: Meter, value: JSON, case_sensitive: JSON = None, attribute: JSON = None) -> Maybe:
    """The greatest item; missing when there is none."""
    items = _weighed_items(meter, value, "take the greatest of")
    key = _ordering_key(attribute, case_sensitive)
    return _ordered("max", lambda: max(items, key=key, default=MISSING))


def unique(meter: Meter, value: JSON, case_sensitive: JSON = None, attribute: JSON = None) -> JSON:
    """The items without repeats, the first of each kept; they must be texts, numbers, booleans or null."""
    key = _key(attribute, case_sensitive)
    kept: dict[JSON, JSON] = {}
    for part in _weighed_items(meter, value, "take the unique items of"):
        mark = key(part)
        if isinstance(mark, list | dict):
            raise ExpressionError(f"'unique' compares texts and numbers, not a {kind_name(mark)}.")
        kept.setdefault(mark, part)
    return list(kept.values())


def total(meter: Meter, value: JSON, attribute: JSON = None, start: JSON = 0) -> JSON:
    """The sum of the numbers, and of ``start``."""
    result = start
    for part in items_of(value, meter, act="sum up"):
        number = required_at(part, attribute)
        if not isinstance(number, int | float):
            raise ExpressionError(f"'sum' needs numbers, not a {kind_name(number)}.")
        result = ARITHMETIC["+"](meter, result, number)
    return result


def _indexable(meter: Meter, value: JSON, act: str) -> list[JSON] | str:
    """Lists and texts as they are, at no cost; the keys of an object as a list."""
    return value if isinstance(value, list | str) else items_of(value, meter, act=act)


def _weighed_items(meter: Meter, value: JSON, act: str) -> list[JSON]:
    items = items_of(value, meter, act=act)
    weigh(value, meter)
    return items


def _key(attribute: JSON, case_sensitive: JSON) -> Callable[[JSON], JSON]:
    """What two items are compared by: the item or its attribute, texts in lower case unless the case counts."""

    def key(part: JSON) -> JSON:
        value = required_at(part, attribute)
        return value.lower() if isinstance(value, str) and not case_sensitive else value

    return key


def _ordering_key(attribute: JSON, case_sensitive: JSON) -> Callable[[JSON], str]:
    # The order is Python's own; where two types have none, comparing raises TypeError, which `_ordered` explains.
    return _key(attribute, case_sensitive)  # type: ignore[return-value]


def _ordered(name: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except TypeError as error:
        raise ExpressionError(f"{name!r} cannot order items of different types: {error}.") from None
