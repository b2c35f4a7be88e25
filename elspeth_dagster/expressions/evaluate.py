"""Expressions: each node of a checked tree becomes one small closure that takes the frame and gives the value.

Closures are made once, when the pipeline is loaded; evaluating a condition is then a handful of plain Python calls. The
tree must have passed `check`: a node that is not known here cannot come this far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from jinja2 import nodes

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.filters import FILTERS
from elspeth_dagster.expressions.limits import RANGE_MAX
from elspeth_dagster.expressions.logic import LOGIC, Evaluate
from elspeth_dagster.expressions.methods import method_of
from elspeth_dagster.expressions.operators import ARITHMETIC, keep_sign, negate
from elspeth_dagster.expressions.predicates import ACCEPT_MISSING, PREDICATES
from elspeth_dagster.expressions.values import (
    MISSING,
    Frame,
    Maybe,
    absent,
    item,
    kind_name,
    shown,
    text_of,
    weigh,
)
from elspeth_dagster.model.row import JSON

EvaluateMaybe: TypeAlias = Callable[[Frame], Maybe]

_DEFAULTS = frozenset({"default", "d"})


def build(node: nodes.Expr) -> Evaluate:
    """What evaluates ``node``. The closure raises `ExpressionError` when the row's values do not fit."""
    logic = LOGIC.get(type(node))
    return logic(node, build) if logic else _BUILDERS[type(node)](node)


def build_maybe(node: nodes.Expr) -> EvaluateMaybe:
    """As `build`, but a name, field or item that is not there gives `MISSING` instead of an error."""
    if isinstance(node, nodes.Name):
        name = node.name
        return lambda frame: frame.get(name, MISSING)
    if isinstance(node, nodes.Getattr | nodes.Getitem) and not _is_slice(node):
        holder, key = build_maybe(node.node), _key_of(node)
        return lambda frame: _item_or_missing(holder(frame), key(frame))
    if isinstance(node, nodes.Filter):
        return _filter_maybe(node)
    return build(node)


def _item_or_missing(holder: Maybe, key: JSON) -> Maybe:
    return MISSING if holder is MISSING else item(holder, key)


def _is_slice(node: nodes.Getattr | nodes.Getitem) -> bool:
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)


def _key_of(node: nodes.Getattr | nodes.Getitem) -> Evaluate:
    if isinstance(node, nodes.Getattr):
        attr = node.attr
        return lambda _frame: attr
    return build(node.arg)


def _const(node: nodes.Const) -> Evaluate:
    value: JSON = node.value
    return lambda _frame: value


def _name(node: nodes.Name) -> Evaluate:
    name = node.name

    def run(frame: Frame) -> JSON:
        try:
            return frame[name]
        except KeyError:
            raise ExpressionError(f"{name!r} has no value here.") from None

    return run


def _member(node: nodes.Getattr | nodes.Getitem) -> Evaluate:
    """``a.b``, ``a["b"]``, ``a[0]``, ``a[1:3]``."""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _slice(node.node, node.arg)
    if isinstance(node, nodes.Getattr):
        return _field(node.node, node.attr)
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return _field(node.node, node.arg.value)
    holder, key = build(node.node), build(node.arg)

    def run(frame: Frame) -> JSON:
        held, wanted = holder(frame), key(frame)
        found = item(held, wanted)
        if found is MISSING:
            raise absent(held, wanted)
        return found

    return run


def _field(base: nodes.Expr, field: str) -> Evaluate:
    """A field by a fixed name: what conditions mostly do, so it takes the shortest way."""
    holder = build(base)

    def run(frame: Frame) -> JSON:
        held = holder(frame)
        try:
            return cast("dict[str, JSON]", held)[field]
        except (KeyError, TypeError):  # TypeError: a list, a text or a number, which have no named items
            raise absent(held, field) from None

    return run


def _slice(base: nodes.Expr, bounds: nodes.Slice) -> Evaluate:
    holder = build(base)
    parts = [build(part) if part is not None else None for part in (bounds.start, bounds.stop, bounds.step)]

    def run(frame: Frame) -> JSON:
        held = holder(frame)
        start, stop, step = (_slice_bound(part(frame)) if part else None for part in parts)
        if step == 0:
            raise ExpressionError("A slice cannot go in steps of 0.")
        if isinstance(held, str):
            frame.meter.spend_text(len(held))
            return held[start:stop:step]
        if isinstance(held, list):
            frame.meter.spend(len(held))
            return held[start:stop:step]
        raise ExpressionError(f"A value of type {kind_name(held)} cannot be sliced.")

    return run


def _slice_bound(value: JSON) -> int | None:
    if value is None or isinstance(value, int):
        return value
    raise ExpressionError(f"A slice is bounded by whole numbers, not by {shown(value)}.")


def _binary(symbol: str) -> Callable[[nodes.BinExpr], Evaluate]:
    calculate = ARITHMETIC[symbol]

    def make(node: nodes.BinExpr) -> Evaluate:
        left, right = build(node.left), build(node.right)
        return lambda frame: calculate(frame.meter, left(frame), right(frame))

    return make


def _unary(change: Callable[[JSON], JSON]) -> Callable[[nodes.UnaryExpr], Evaluate]:
    def make(node: nodes.UnaryExpr) -> Evaluate:
        operand = build(node.node)
        return lambda frame: change(operand(frame))

    return make


def _concat(node: nodes.Concat) -> Evaluate:
    parts = [build(part) for part in node.nodes]

    def run(frame: Frame) -> JSON:
        texts = [text_of(part(frame), frame.meter) for part in parts]
        frame.meter.spend_text(sum(map(len, texts)))
        return "".join(texts)

    return run


def _list(node: nodes.List | nodes.Tuple) -> Evaluate:
    if all(isinstance(part, nodes.Const) for part in node.items):
        constant: JSON = [cast("nodes.Const", part).value for part in node.items]
        return lambda _frame: constant
    parts = [build(part) for part in node.items]

    def run(frame: Frame) -> JSON:
        made: JSON = [part(frame) for part in parts]
        weigh(made, frame.meter)
        return made

    return run


def _dict(node: nodes.Dict) -> Evaluate:
    pairs = [(build(pair.key), build(pair.value)) for pair in node.items]

    def run(frame: Frame) -> JSON:
        made: dict[str, JSON] = {_object_key(key(frame)): value(frame) for key, value in pairs}
        weigh(made, frame.meter)
        return made

    return run


def _object_key(key: JSON) -> str:
    if isinstance(key, str):
        return key
    raise ExpressionError(f"A field is named by a text, not by {shown(key)}.")


def _filter_maybe(node: nodes.Filter) -> EvaluateMaybe:
    operand_node = cast("nodes.Expr", node.node)
    operand = build_maybe(operand_node) if node.name in _DEFAULTS else build(operand_node)
    apply, args = FILTERS[node.name], [build(arg) for arg in node.args]
    options = {str(option.key): build(option.value) for option in node.kwargs}

    def run(frame: Frame) -> Maybe:
        value = operand(frame)
        given = {name: option(frame) for name, option in options.items()}
        return apply(frame.meter, value, *[arg(frame) for arg in args], **given)

    return run


def _filter(node: nodes.Filter) -> Evaluate:
    apply, name = _filter_maybe(node), node.name

    def run(frame: Frame) -> JSON:
        value = apply(frame)
        if value is MISSING:
            raise ExpressionError(
                f"{name!r} found nothing: the list is empty.", hint="add a default: |default(...)"
            )
        return value

    return run


def _test(node: nodes.Test) -> Evaluate:
    operand = build_maybe(node.node) if node.name in ACCEPT_MISSING else build(node.node)
    passes, args = PREDICATES[node.name], [build(arg) for arg in node.args]
    return lambda frame: passes(frame.meter, operand(frame), *[arg(frame) for arg in args])


def _call(node: nodes.Call) -> Evaluate:
    args = [build(arg) for arg in node.args]
    if isinstance(node.node, nodes.Name):  # `check` lets no other name through
        return lambda frame: _range(frame, [arg(frame) for arg in args])
    target = cast("nodes.Getattr", node.node)
    holder, name = build(target.node), target.attr

    def run(frame: Frame) -> JSON:
        held = holder(frame)
        return method_of(held, name)(frame.meter, held, *[arg(frame) for arg in args])

    return run


def _range(frame: Frame, bounds: list[JSON]) -> JSON:
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    if len(numbers) < len(bounds):
        raise ExpressionError("'range' needs whole numbers.")
    span = range(*numbers)
    if len(span) > RANGE_MAX:
        raise ExpressionError(f"'range' gives at most {RANGE_MAX:,} numbers, not {len(span):,}.")
    frame.meter.spend(len(span))
    return [*span]


_BUILDERS: dict[type[nodes.Expr], Callable[..., Evaluate]] = {
    nodes.Const: _const,
    nodes.Name: _name,
    nodes.Getattr: _member,
    nodes.Getitem: _member,
    nodes.Add: _binary("+"),
    nodes.Sub: _binary("-"),
    nodes.Mul: _binary("*"),
    nodes.Div: _binary("/"),
    nodes.FloorDiv: _binary("//"),
    nodes.Mod: _binary("%"),
    nodes.Neg: _unary(negate),
    nodes.Pos: _unary(keep_sign),
    nodes.Concat: _concat,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: _call,
}
