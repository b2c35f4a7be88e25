"""What can be known about a filter, a test or a call without a row: that it exists, and takes these arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping

from jinja2 import nodes

from elspeth_dagster.expressions.filters import FILTERS, NAMING_A_FILTER, NAMING_A_TEST
from elspeth_dagster.expressions.methods import OBJECT_METHODS, TEXT_METHODS
from elspeth_dagster.expressions.predicates import PREDICATES
from elspeth_dagster.expressions.values import underscore_refused
from elspeth_dagster.model.suggest import suggest

RANGE = "range"

RANGE_ARGUMENTS_MAX = 3
"""start, stop, step."""

Called = nodes.Filter | nodes.Test | nodes.Call
Table = Mapping[str, Callable[..., object]]


def option_names(node: Called) -> list[str]:
    """The names of the named arguments."""
    return [str(option.key) for option in node.kwargs]


def filter_mistakes(node: nodes.Filter) -> Iterator[str]:
    """What is wrong with ``x|name(...)``."""
    yield from _spread_mistakes(node)
    function = FILTERS.get(node.name)
    if function is None:
        yield _unknown("filter", node.name, FILTERS)
        return
    options = option_names(node)
    yield from _signature_mistakes(f"filter {node.name!r}", function, len(node.args), options)
    yield from _path_mistakes(node)
    if node.name in NAMING_A_FILTER:
        yield from _named_mistakes(node, NAMING_A_FILTER[node.name], FILTERS, "filter")
    if node.name in NAMING_A_TEST:
        yield from _named_mistakes(node, NAMING_A_TEST[node.name], PREDICATES, "test")


def test_mistakes(node: nodes.Test) -> Iterator[str]:
    """What is wrong with ``x is name(...)``."""
    yield from _spread_mistakes(node)
    function = PREDICATES.get(node.name)
    if function is None:
        yield _unknown("test", node.name, PREDICATES)
    else:
        options = option_names(node)
        yield from _signature_mistakes(f"test {node.name!r}", function, len(node.args), options)
        yield from _unnamed_mistakes(f"test {node.name!r}", options)


def call_mistakes(node: nodes.Call) -> Iterator[str]:
    """What is wrong with ``range(...)`` or ``x.method(...)``; anything else is no call that is offered."""
    yield from _spread_mistakes(node)
    options = option_names(node)
    target = node.node
    if isinstance(target, nodes.Getattr):
        yield from _method_mistakes(target.attr, len(node.args), options)
    elif not isinstance(target, nodes.Name) or target.name != RANGE:
        yield "Only range(start, stop, step) and methods such as row.name.strip() can be called."
    elif not 1 <= len(node.args) <= RANGE_ARGUMENTS_MAX:
        yield "range takes one to three whole numbers: start, stop, step."
    else:
        yield from _unnamed_mistakes("range", options)


def _method_mistakes(name: str, args: int, options: Collection[str]) -> Iterator[str]:
    method = TEXT_METHODS.get(name) or OBJECT_METHODS.get(name)
    if method is None:
        yield _unknown("method", name, [*TEXT_METHODS, *OBJECT_METHODS])
    else:
        yield from _signature_mistakes(f"method {name!r}", method, args, options)
        yield from _unnamed_mistakes(f"method {name!r}", options)


def _named_mistakes(node: nodes.Filter, position: int, table: Table, word: str) -> Iterator[str]:
    """What is wrong with the filter or test that a filter applies to each item."""
    options = option_names(node)
    if len(node.args) <= position:
        if word == "filter" and "attribute" not in options:
            yield f"{node.name!r} needs the name of a filter, or attribute=."
        return
    named = node.args[position]
    name = named.value if isinstance(named, nodes.Const) else None
    if not isinstance(name, str):
        yield f"The {word} that {node.name!r} applies must be written out as a text."
    elif name not in table:
        yield _unknown(word, name, table)
    else:
        yield from _signature_mistakes(
            f"{word} {name!r}", table[name], len(node.args) - position - 1, options
        )


def _path_mistakes(node: nodes.Filter) -> Iterator[str]:
    """Private names in ``attribute=``, in `selectattr`'s first argument, or wherever a filter takes a dotted path."""
    written = [option.value for option in node.kwargs if option.key == "attribute"]
    if NAMING_A_TEST.get(node.name) == 1:
        written += node.args[:1]
    for part in written:
        if isinstance(part, nodes.Const) and isinstance(part.value, str):
            for step in part.value.split("."):
                if step.startswith("_"):
                    yield underscore_refused(step)


def _spread_mistakes(node: Called) -> Iterator[str]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield "Arguments must be written out: * and ** are not offered."


def _unnamed_mistakes(what: str, options: Collection[str]) -> Iterator[str]:
    if options:
        yield f"The {what} takes no named arguments."


def _signature_mistakes(
    what: str, function: Callable[..., object], args: int, options: Collection[str]
) -> Iterator[str]:
    # Every function takes the meter and the value before what is written in the source.
    try:
        inspect.signature(function).bind(None, None, *[None] * args, **dict.fromkeys(options))
    except TypeError as error:
        yield f"The {what} does not take these arguments: {error}."


def _unknown(word: str, name: str, known: Collection[str]) -> str:
    what = underscore_refused(name) if name.startswith("_") else f"There is no {word} {name!r}."
    return what + suggest(name, known)
