"""Logic and comparing: `and`, `or`, `not`, `if ... else`, and chains such as `0 < row.amount <= 10`.

`and` and `or` stop at the first operand that decides, and give that operand itself, as Python and Jinja do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from jinja2 import nodes

from elspeth_dagster.expressions.operators import COMPARISONS, MEMBERSHIPS, Comparison
from elspeth_dagster.expressions.sandbox import operands
from elspeth_dagster.expressions.values import Frame
from elspeth_dagster.model.row import JSON

Evaluate: TypeAlias = Callable[[Frame], JSON]
Build: TypeAlias = Callable[[nodes.Expr], Evaluate]

_NUMBERS = frozenset({int, float})


def negation(node: nodes.Not, build: Build) -> Evaluate:
    """``not a``."""
    operand = build(node.node)
    return lambda frame: not operand(frame)


def disjunction(node: nodes.Or, build: Build) -> Evaluate:
    """``a or b or c``."""
    *earlier, last = [build(operand) for operand in operands(node)]

    def run(frame: Frame) -> JSON:
        for operand in earlier:
            value = operand(frame)
            if value:
                return value
        return last(frame)

    return run


def conjunction(node: nodes.And, build: Build) -> Evaluate:
    """``a and b and c``."""
    *earlier, last = [build(operand) for operand in operands(node)]

    def run(frame: Frame) -> JSON:
        for operand in earlier:
            value = operand(frame)
            if not value:
                return value
        return last(frame)

    return run


def conditional(node: nodes.CondExpr, build: Build) -> Evaluate:
    """``a if test else b``."""
    test, then = build(node.test), build(node.expr1)
    otherwise = build(cast("nodes.Expr", node.expr2))  # `check` refuses one without an else
    return lambda frame: then(frame) if test(frame) else otherwise(frame)


def comparison(node: nodes.Compare, build: Build) -> Evaluate:
    """``a < b``, ``a in b``, and chains of them."""
    first = build(node.expr)
    if len(node.ops) == 1:
        return _pair(first, node.ops[0], build)
    steps = [(_checked(operand.op), build(operand.expr)) for operand in node.ops]

    def run(frame: Frame) -> JSON:
        left = first(frame)
        for holds, operand in steps:
            right = operand(frame)
            if not holds(frame.meter, left, right):
                return False
            left = right
        return True

    return run


def _pair(left: Evaluate, operand: nodes.Operand, build: Build) -> Evaluate:
    right, checked = build(operand.expr), _checked(operand.op)
    if operand.op in MEMBERSHIPS:
        return lambda frame: checked(frame.meter, left(frame), right(frame))
    bare = COMPARISONS[operand.op][0]

    def run(frame: Frame) -> JSON:
        one, other = left(frame), right(frame)
        # Two numbers always compare: what gates ask most takes the shortest way.
        if one.__class__ in _NUMBERS and other.__class__ in _NUMBERS:
            return bare(one, other)
        return checked(frame.meter, one, other)

    return run


def _checked(op: str) -> Comparison:
    return MEMBERSHIPS[op] if op in MEMBERSHIPS else COMPARISONS[op][1]


LOGIC: dict[type[nodes.Expr], Callable[..., Evaluate]] = {
    nodes.Not: negation,
    nodes.Or: disjunction,
    nodes.And: conjunction,
    nodes.CondExpr: conditional,
    nodes.Compare: comparison,
}
