"""The values of the language: JSON, and a mark for what is absent.

Only the items of objects and lists can be reached, never a Python attribute: so a field named `items` or `keys` is just
a field, `__class__` leads nowhere, and nothing can be changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Literal, TypeGuard

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import TEXT_CHARS_MAX, Meter
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX
from elspeth_dagster.model.suggest import suggest

NODE_WEIGHT = 4
"""Characters that a value takes on paper besides its text: quotes, a comma, a space."""

SHOWN_CHARS_MAX = 40
"""A value in a message: enough to know it again."""


class Missing(Enum):
    """The type of `MISSING`: nothing is there. Only `default` and `is defined` accept it."""

    MISSING = "missing"


MISSING: Literal[Missing.MISSING] = Missing.MISSING
Maybe = JSON | Literal[Missing.MISSING]


class Frame(dict[str, JSON]):
    """The names that can be seen at one place of a template, and the meter of its evaluation."""

    __slots__ = ("meter",)

    def __init__(self, names: Mapping[str, JSON], meter: Meter) -> None:
        super().__init__(names)
        self.meter = meter


def kind_name(value: Maybe) -> str:
    """The type of ``value`` as messages call it: str, int, float, bool, null, list, object, missing."""
    if value is None:
        return "null"
    if value is MISSING:
        return "missing"
    return "object" if isinstance(value, dict) else type(value).__name__


def shown(value: JSON) -> str:
    """``value`` for a message, cut short."""
    text = repr(value) if isinstance(value, None | bool | int | float | str) else f"a {kind_name(value)}"
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def is_number(value: Maybe) -> TypeGuard[int | float]:
    """Whether ``value`` can be calculated with. True and False count as 1 and 0, as in Python and Jinja."""
    return isinstance(value, int | float)


def checked_number(value: float) -> int | float:
    """``value``, unless JSON has no such number."""
    if isinstance(value, int):
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            return value
        raise ExpressionError("The result is beyond the integers that JSON holds exactly (2^53-1).")
    if math.isfinite(value):
        return value
    raise ExpressionError("The result is no finite number.")


def item(holder: JSON, key: JSON) -> Maybe:
    """What ``holder`` has under ``key``, or `MISSING`.

    Raises:
        ExpressionError: the key begins with an underscore.
    """
    if isinstance(key, str):
        if key.startswith("_"):
            raise ExpressionError(underscore_refused(key))
        return holder.get(key, MISSING) if isinstance(holder, dict) else MISSING
    if isinstance(holder, list | str) and isinstance(key, int) and not isinstance(key, bool):
        return holder[key] if -len(holder) <= key < len(holder) else MISSING
    return MISSING


def absent(holder: JSON, key: JSON) -> ExpressionError:
    """The error for a ``key`` that ``holder`` does not have."""
    if isinstance(holder, dict) and isinstance(key, str):
        return ExpressionError(f"There is no field {shown(key)} here.{suggest(key, holder)}")
    if isinstance(holder, list | str) and isinstance(key, int):
        return ExpressionError(f"There is no item {key}: the {kind_name(holder)} has {len(holder)}.")
    return ExpressionError(f"A value of type {kind_name(holder)} has no item {shown(key)}.")


def underscore_refused(name: str) -> str:
    """The message for a name that is private by its spelling."""
    return (
        f"{shown(name)} begins with an underscore: such names cannot be read; rename the field in a map step."
    )


def weigh(value: JSON, meter: Meter) -> int:
    """About how many characters ``value`` would print as.

    A list built of the same list ten times over weighs ten times as much, though it takes no memory yet: so every value
    that a template builds is weighed before anything walks through it.
    """
    total = visited = 0
    waiting: list[JSON] = [value]
    while waiting:
        part = waiting.pop()
        visited += 1
        total += NODE_WEIGHT
        if isinstance(part, str):
            total += len(part)
        elif isinstance(part, dict):
            total += sum(map(len, part))
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        if total > TEXT_CHARS_MAX:
            raise ExpressionError(
                f"A value that prints as more than {TEXT_CHARS_MAX:,} characters is too large."
            )
    meter.spend(visited)
    meter.spend_text(total)
    return total


def text_of(value: JSON, meter: Meter) -> str:
    """``value`` as it is printed: a text as it is, anything else as Python and Jinja write it."""
    if isinstance(value, str):
        meter.spend_text(len(value))
        return value
    if isinstance(value, list | dict):
        weigh(value, meter)
    return str(value)


def items_of(value: JSON, meter: Meter, *, act: str) -> list[JSON]:
    """The items of a list, the keys of an object, the characters of a text."""
    if isinstance(value, list):
        meter.spend(len(value))
        return value
    if isinstance(value, dict | str):
        meter.spend(len(value))
        return list(value)
    raise ExpressionError(f"Cannot {act} a value of type {kind_name(value)}.")


def plain(value: JSON) -> JSON:
    """A copy of ``value`` that shares nothing changeable with the row it came from."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value
