"""The filters that are offered, by name, and those that apply another filter or test to each item.

What is missing here is missing on purpose: `attr` (reaches into Python), `format` and `pprint` (print what Python has),
`random` (no answer twice), `center` and `wordwrap` (paddings without use in a prompt), everything about HTML.
"""

from __future__ import annotations

from collections.abc import Callable

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import predicates, sequence_filters, text_filters
from elspeth_dagster.expressions.limits import Meter
from elspeth_dagster.expressions.predicates import PREDICATES
from elspeth_dagster.expressions.sequence_filters import at_path
from elspeth_dagster.expressions.values import MISSING, Maybe, absent, items_of
from elspeth_dagster.model.row import JSON

Filter = Callable[..., Maybe]


def default(_meter: Meter, value: Maybe, default_value: JSON = "", boolean: JSON = None) -> JSON:
    """``default_value`` for what is missing; with ``boolean`` also for what is false, empty, zero or null."""
    return default_value if value is MISSING or (boolean and not value) else value


def map_items(meter: Meter, value: JSON, name: JSON = None, *args: JSON, **options: JSON) -> JSON:
    """Each item after the filter ``name``, or each item's ``attribute`` (``default=`` where it is missing)."""
    items = items_of(value, meter, act="map")
    if name is None:
        return [_attribute_of(part, **options) for part in items]
    filter_item = FILTERS[_known(name)]
    meter.spend(len(items))
    return [_required(filter_item(meter, part, *args, **options)) for part in items]


def select(meter: Meter, value: JSON, name: JSON = None, *args: JSON) -> JSON:
    """The items that pass the test ``name``, or that count as true when there is none."""
    passes = _test(meter, name, args)
    return [part for part in items_of(value, meter, act="select from") if passes(part)]


def reject(meter: Meter, value: JSON, name: JSON = None, *args: JSON) -> JSON:
    """The items that do not pass the test ``name``, or that count as false when there is none."""
    passes = _test(meter, name, args)
    return [part for part in items_of(value, meter, act="select from") if not passes(part)]


def select_by(meter: Meter, value: JSON, attribute: JSON, name: JSON = None, *args: JSON) -> JSON:
    """The items whose ``attribute`` passes the test ``name``, or counts as true."""
    passes = _attribute_test(meter, attribute, name, args)
    return [part for part in items_of(value, meter, act="select from") if passes(part)]


def reject_by(meter: Meter, value: JSON, attribute: JSON, name: JSON = None, *args: JSON) -> JSON:
    """The items whose ``attribute`` does not pass the test ``name``, or counts as false."""
    passes = _attribute_test(meter, attribute, name, args)
    return [part for part in items_of(value, meter, act="select from") if not passes(part)]


def _attribute_of(part: JSON, *, attribute: JSON, default: Maybe = MISSING) -> JSON:
    found = at_path(part, attribute)
    if found is MISSING:
        found = default
    if found is MISSING:
        raise absent(part, attribute)
    return found


def _required(value: Maybe) -> JSON:
    if value is MISSING:
        raise ExpressionError("An item is missing: the filter gave nothing for it.")
    return value


def _known(name: JSON) -> str:
    if isinstance(name, str):
        return name
    raise ExpressionError("A filter or test is named by a text.")


def _test(meter: Meter, name: JSON, args: tuple[JSON, ...]) -> Callable[[JSON], bool]:
    if name is None:
        return bool
    test = PREDICATES[_known(name)]
    return lambda part: test(meter, part, *args)


def _attribute_test(
    meter: Meter, attribute: JSON, name: JSON, args: tuple[JSON, ...]
) -> Callable[[JSON], bool]:
    test = _test(meter, name, args)

    def passes(part: JSON) -> bool:
        found = at_path(part, attribute)
        if found is not MISSING:
            return test(found)
        if name in predicates.ACCEPT_MISSING:
            return name == "undefined"
        raise absent(part, attribute)

    return passes


NAMING_A_FILTER = {"map": 0}
NAMING_A_TEST = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
"""The filters that are given another's name, and which of their arguments it is."""

FILTERS: dict[str, Filter] = {
    "default": default,
    "d": default,
    "map": map_items,
    "select": select,
    "reject": reject,
    "selectattr": select_by,
    "rejectattr": reject_by,
    "string": text_filters.string,
    "lower": text_filters.lower,
    "upper": text_filters.upper,
    "capitalize": text_filters.capitalize,
    "title": text_filters.title,
    "trim": text_filters.trim,
    "replace": text_filters.replace,
    "truncate": text_filters.truncate,
    "wordcount": text_filters.wordcount,
    "indent": text_filters.indent,
    "tojson": text_filters.tojson,
    "abs": text_filters.absolute,
    "round": text_filters.rounded,
    "int": text_filters.integer,
    "float": text_filters.floating,
    "length": sequence_filters.length,
    "count": sequence_filters.length,
    "first": sequence_filters.first,
    "last": sequence_filters.last,
    "list": sequence_filters.to_list,
    "items": sequence_filters.to_items,
    "reverse": sequence_filters.reverse,
    "join": sequence_filters.join,
    "sort": sequence_filters.sort,
    "unique": sequence_filters.unique,
    "min": sequence_filters.minimum,
    "max": sequence_filters.maximum,
    "sum": sequence_filters.total,
}
