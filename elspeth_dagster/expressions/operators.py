"""What the operators do. Types that do not fit, results that JSON lacks, and texts without end are errors of the row.

Comparing for equality works between any two values, as in Python: `1 == "1"` is false. Ordering needs two numbers, two
texts or two lists.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import CHARS_PER_STEP, Meter
from elspeth_dagster.expressions.values import checked_number, is_number, kind_name, weigh
from elspeth_dagster.model.row import JSON

Binary = Callable[[Meter, JSON, JSON], JSON]
Comparison = Callable[[Meter, JSON, JSON], bool]
Bare = Callable[..., bool]


def add(meter: Meter, left: JSON, right: JSON) -> JSON:
    """The sum of two numbers, or two texts or two lists one after the other."""
    if is_number(left) and is_number(right):
        return checked_number(left + right)
    if isinstance(left, str) and isinstance(right, str):
        meter.spend_text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        weigh(left, meter)
        weigh(right, meter)
        joined: list[JSON] = [*left, *right]
        weigh(joined, meter)
        return joined
    raise _unfit("+", left, right)


def _numeric(symbol: str, calculate: Callable[[float, float], float]) -> Binary:
    def run(_meter: Meter, left: JSON, right: JSON) -> JSON:
        if not (is_number(left) and is_number(right)):
            raise _unfit(symbol, left, right)
        try:
            return checked_number(calculate(left, right))
        except ZeroDivisionError:
            raise ExpressionError(f"Division by zero ({symbol}).") from None

    return run


ARITHMETIC: dict[str, Binary] = {
    "+": add,
    "-": _numeric("-", operator.sub),
    "*": _numeric("*", operator.mul),
    "/": _numeric("/", operator.truediv),
    "//": _numeric("//", operator.floordiv),
    "%": _numeric("%", operator.mod),
}


def negate(value: JSON) -> JSON:
    """The number with the other sign."""
    if is_number(value):
        return -value
    raise ExpressionError(f"A {kind_name(value)} has no negative (-).")


def keep_sign(value: JSON) -> JSON:
    """The number itself."""
    if is_number(value):
        return +value
    raise ExpressionError(f"A {kind_name(value)} is no number (+).")


def contains(meter: Meter, value: JSON, holder: JSON) -> bool:
    """Whether ``value`` is an item of a list, a key of an object, or part of a text."""
    if isinstance(holder, str) and isinstance(value, str):
        meter.spend_text(len(holder))
        return value in holder
    if isinstance(holder, dict) and isinstance(value, str):
        return value in holder
    if isinstance(holder, list):
        # Comparing texts is linear in the shorter one, comparing lists in all that is in them.
        chars = len(value) if isinstance(value, str) else 0
        meter.spend(len(holder) * (1 + chars // CHARS_PER_STEP))
        if isinstance(value, list | dict):
            weigh(holder, meter)
        return value in holder
    raise _unfit("in", value, holder)


def _contains_not(meter: Meter, value: JSON, holder: JSON) -> bool:
    return not contains(meter, value, holder)


def _equality(test: Bare) -> Comparison:
    def run(meter: Meter, left: JSON, right: JSON) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            meter.spend_text(min(len(left), len(right)))
        elif isinstance(left, list | dict) and isinstance(right, list | dict):
            weigh(left, meter)
            weigh(right, meter)
        return test(left, right)

    return run


def _ordering(symbol: str, test: Bare) -> Comparison:
    equality = _equality(test)

    def run(meter: Meter, left: JSON, right: JSON) -> bool:
        try:
            return equality(meter, left, right)
        except TypeError:
            raise ExpressionError(
                f"'{symbol}' does not compare {kind_name(left)} with {kind_name(right)}."
            ) from None

    return run


COMPARISONS: dict[str, tuple[Bare, Comparison]] = {
    "eq": (operator.eq, _equality(operator.eq)),
    "ne": (operator.ne, _equality(operator.ne)),
    "lt": (operator.lt, _ordering("<", operator.lt)),
    "lteq": (operator.le, _ordering("<=", operator.le)),
    "gt": (operator.gt, _ordering(">", operator.gt)),
    "gteq": (operator.ge, _ordering(">=", operator.ge)),
}
"""By jinja2's name: the bare comparison, safe between two numbers, and the checked one for everything else."""

MEMBERSHIPS: dict[str, Comparison] = {"in": contains, "notin": _contains_not}


def _unfit(symbol: str, left: JSON, right: JSON) -> ExpressionError:
    return ExpressionError(f"'{symbol}' does not work between {kind_name(left)} and {kind_name(right)}.")
