"""The tests of `is`, such as `row.name is string`. A comparison is one too: `row.scores|select("gt", 3)`."""

from __future__ import annotations

from collections.abc import Callable

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import Meter
from elspeth_dagster.expressions.operators import COMPARISONS, contains
from elspeth_dagster.expressions.values import MISSING, Maybe, kind_name, text_of
from elspeth_dagster.model.row import JSON

Predicate = Callable[..., bool]


def _of_kind(*kinds: str) -> Predicate:
    def run(_meter: Meter, value: JSON) -> bool:
        return kind_name(value) in kinds

    return run


def _remainder(meter: Meter, value: JSON, divisor: JSON) -> bool:
    del meter
    if not (isinstance(value, int) and isinstance(divisor, int)):
        raise ExpressionError(f"Only whole numbers are divided here, not a {kind_name(value)}.")
    if divisor == 0:
        raise ExpressionError("Nothing is divisible by 0.")
    return value % divisor == 0


def _even(meter: Meter, value: JSON) -> bool:
    return _remainder(meter, value, 2)


def _odd(meter: Meter, value: JSON) -> bool:
    return not _remainder(meter, value, 2)


def _lower(meter: Meter, value: JSON) -> bool:
    return text_of(value, meter).islower()


def _upper(meter: Meter, value: JSON) -> bool:
    return text_of(value, meter).isupper()


def _true(_meter: Meter, value: JSON) -> bool:
    return value is True


def _false(_meter: Meter, value: JSON) -> bool:
    return value is False


def _defined(_meter: Meter, value: Maybe) -> bool:
    return value is not MISSING


def _undefined(_meter: Meter, value: Maybe) -> bool:
    return value is MISSING


ACCEPT_MISSING = frozenset({"defined", "undefined"})
"""The tests that may be asked about what is not there."""

_COMPARISON_NAMES = {
    "eq": ("==", "eq", "equalto"),
    "ne": ("!=", "ne"),
    "lt": ("<", "lt", "lessthan"),
    "lteq": ("<=", "le"),
    "gt": (">", "gt", "greaterthan"),
    "gteq": (">=", "ge"),
}

PREDICATES: dict[str, Predicate] = {
    "defined": _defined,
    "undefined": _undefined,
    "none": _of_kind("null"),
    "boolean": _of_kind("bool"),
    "string": _of_kind("str"),
    "number": _of_kind("int", "float", "bool"),
    "integer": _of_kind("int"),
    "float": _of_kind("float"),
    "mapping": _of_kind("object"),
    "sequence": _of_kind("list", "object", "str"),
    "iterable": _of_kind("list", "object", "str"),
    "true": _true,
    "false": _false,
    "odd": _odd,
    "even": _even,
    "divisibleby": _remainder,
    "lower": _lower,
    "upper": _upper,
    "in": contains,
    **{name: COMPARISONS[op][1] for op, names in _COMPARISON_NAMES.items() for name in names},
}
