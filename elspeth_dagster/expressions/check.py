"""What a tree may contain, which names it may use, and which fields it reads: settled when a pipeline is loaded.

Every mistake is collected, none is raised. What a row's values will be is not known here; the types are judged when the
row comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

from jinja2 import nodes

from elspeth_dagster.expressions.calls import RANGE, call_mistakes, filter_mistakes, test_mistakes
from elspeth_dagster.expressions.sandbox import operands
from elspeth_dagster.expressions.statements import LOOP_FIELDS
from elspeth_dagster.expressions.values import underscore_refused
from elspeth_dagster.model.row import SAFE_INTEGER_MAX
from elspeth_dagster.model.suggest import suggest

ROW = "row"
LOOKUP = "lookup"
LOOP = "loop"

SHOWN_NAMES_MAX = 20
"""Names listed in one message; the nearest one is suggested in any case."""

Scope = set[str]
Names = Mapping[str, AbstractSet[str] | None]

NO_NAMES: Names = MappingProxyType({})
"""No further namespaces."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What a source may read. ``names`` maps each namespace, `row` among them, to its fields, or None if unknown."""

    names: Names
    place: str


@dataclass(slots=True)
class Findings:
    """What a tree reads, and what is wrong with it as (line, what)."""

    reads: set[str] = field(default_factory=set)
    reads_whole_row: bool = False
    names_read: set[str] = field(default_factory=set)
    mistakes: list[tuple[int, str]] = field(default_factory=list)

    def written(self) -> list[str]:
        """Each mistake once, with its line, in the order of the lines."""
        return [f"line {line}: {what}" for line, what in sorted(dict.fromkeys(self.mistakes), key=_line)]


def check(tree: nodes.Node, offered: Offered) -> Findings:
    """Walk ``tree`` in the order it is evaluated, and note what it reads and what is wrong."""
    checker = _Checker(offered)
    checker.visit(tree, set())
    return checker.findings


class _Checker:
    """One walk over one tree. A scope is the set of names that were set so far, in this block or one around it."""

    def __init__(self, offered: Offered) -> None:
        self.offered = offered
        self.findings = Findings()

    def visit(self, node: nodes.Node, scope: Scope) -> None:
        visit = _VISITS.get(type(node))
        if visit is None:
            tag = _REFUSED.get(type(node), type(node).__name__)
            self.mistake(node, f"{tag} is not offered in this language.")
        else:
            visit(self, node, scope)

    def visit_all(self, several: Iterable[nodes.Node], scope: Scope) -> None:
        for node in several:
            self.visit(node, scope)

    def mistake(self, node: nodes.Node, what: str) -> None:
        self.findings.mistakes.append((node.lineno, what))

    # Names and fields

    def name(self, node: nodes.Name, scope: Scope) -> None:
        if node.name in scope:
            return
        if node.name in self.offered.names:
            self.findings.names_read.add(node.name)
            self.findings.reads_whole_row |= node.name == ROW
            return
        known = {*self.offered.names, *scope, RANGE}
        self.mistake(
            node,
            f"There is no {node.name!r} here. Names here: {_listed(known)}.{suggest(node.name, known)}",
        )

    def attribute(self, node: nodes.Getattr, scope: Scope) -> None:
        self.member(node, node.attr, scope)

    def subscript(self, node: nodes.Getitem, scope: Scope) -> None:
        fixed = isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
        if fixed:
            self.member(node, cast("nodes.Const", node.arg).value, scope)
        else:
            self.visit(node.node, scope)
            self.visit(node.arg, scope)

    def member(self, node: nodes.Getattr | nodes.Getitem, key: str, scope: Scope) -> None:
        if key.startswith("_"):
            self.mistake(node, underscore_refused(key))
        base = node.node
        if not isinstance(base, nodes.Name):
            self.visit(base, scope)
        elif base.name == LOOP and LOOP in scope:
            self.one_of(node, key, LOOP_FIELDS, LOOP)
        elif base.name in scope or base.name not in self.offered.names:
            self.visit(base, scope)
        else:
            self.namespace_field(node, base.name, key)

    def namespace_field(self, node: nodes.Node, namespace: str, key: str) -> None:
        self.findings.names_read.add(namespace)
        if namespace == ROW:
            self.findings.reads.add(key)
        known = self.offered.names[namespace]
        if known is not None:
            self.one_of(node, key, known, namespace)

    def one_of(self, node: nodes.Node, key: str, known: AbstractSet[str], namespace: str) -> None:
        if key in known or key.startswith("_"):
            return
        near = suggest(key, known)
        if namespace == ROW:
            what = f"Field {key!r} does not reach this {self.offered.place}. Columns there: {_listed(known)}."
        else:
            what = f"{namespace!r} has no {key!r}. It has: {_listed(known)}."
        self.mistake(node, what + near)

    # Expressions

    def children(self, node: nodes.Node, scope: Scope) -> None:
        self.visit_all(node.iter_child_nodes(), scope)

    def chain(self, node: nodes.And | nodes.Or, scope: Scope) -> None:
        self.visit_all(operands(node), scope)

    def const(self, node: nodes.Const, _scope: Scope) -> None:
        value = node.value
        if isinstance(value, int) and abs(value) > SAFE_INTEGER_MAX:
            self.mistake(node, "A number here is beyond the integers that JSON holds exactly (2^53-1).")
        elif isinstance(value, float) and not math.isfinite(value):
            self.mistake(node, "A number here is too large for a float.")
        elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            self.mistake(node, "A text here has a lone surrogate, which UTF-8 cannot hold.")

    def times(self, node: nodes.Mul, scope: Scope) -> None:
        for operand in (node.left, node.right):
            text = isinstance(operand, nodes.Const) and isinstance(operand.value, str)
            if text or isinstance(operand, nodes.List | nodes.Tuple | nodes.Concat | nodes.Dict):
                self.mistake(node, "'*' multiplies numbers: texts and lists cannot be repeated.")
        self.children(node, scope)

    def modulo(self, node: nodes.Mod, scope: Scope) -> None:
        if isinstance(node.left, nodes.Const) and isinstance(node.left.value, str):
            self.mistake(
                node, "'%' divides numbers: texts cannot be formatted with it; put them together with ~."
            )
        self.children(node, scope)

    def power(self, node: nodes.Pow, scope: Scope) -> None:
        self.mistake(node, "Powers (**) are not offered: multiply instead.")
        self.children(node, scope)

    def conditional(self, node: nodes.CondExpr, scope: Scope) -> None:
        if node.expr2 is None:
            self.mistake(node, "An inline 'if' needs an 'else': without it nothing may be there.")
        self.children(node, scope)

    def filter(self, node: nodes.Filter, scope: Scope) -> None:
        if node.node is not None:
            self.visit(node.node, scope)
        self.called(node, filter_mistakes(node), scope)

    def test(self, node: nodes.Test, scope: Scope) -> None:
        self.visit(node.node, scope)
        self.called(node, test_mistakes(node), scope)

    def call(self, node: nodes.Call, scope: Scope) -> None:
        if isinstance(node.node, nodes.Getattr):  # a method: its name is no field
            self.visit(node.node.node, scope)
        self.called(node, call_mistakes(node), scope)

    def called(
        self, node: nodes.Filter | nodes.Test | nodes.Call, mistakes: Iterable[str], scope: Scope
    ) -> None:
        for what in mistakes:
            self.mistake(node, what)
        self.visit_all(node.args, scope)
        self.visit_all((option.value for option in node.kwargs), scope)

    # Statements

    def loop(self, node: nodes.For, scope: Scope) -> None:
        if node.recursive:
            self.mistake(node, "A recursive loop is not offered in this language.")
        self.visit(node.iter, scope)
        inner = set(scope)
        self.assign(node.target, inner)
        if node.test is not None:
            self.visit(node.test, inner)
        inner.add(LOOP)
        self.visit_all(node.body, inner)
        self.visit_all(node.else_, set(scope))

    def assignment(self, node: nodes.Assign, scope: Scope) -> None:
        self.visit(node.node, scope)
        self.assign(node.target, scope)

    def block_assignment(self, node: nodes.AssignBlock, scope: Scope) -> None:
        if node.filter is not None:
            self.mistake(node, "A filter on a {% set %} block is not offered: filter where the name is used.")
        self.visit_all(node.body, set(scope))
        self.assign(node.target, scope)

    def assign(self, target: nodes.Node, scope: Scope) -> None:
        several = target.items if isinstance(target, nodes.Tuple) else [target]
        for part in several:
            if not isinstance(part, nodes.Name):
                self.mistake(target, "Only a plain name can be set; a row's fields stay as they are.")
            elif part.name in {*self.offered.names, ROW, LOOKUP, LOOP, RANGE}:
                self.mistake(target, f"{part.name!r} is taken: choose another name.")
            else:
                scope.add(part.name)

    def nothing(self, node: nodes.Node, scope: Scope) -> None:
        """Text between the tags: nothing to check."""


def _line(mistake: tuple[int, str]) -> int:
    return mistake[0]


def _listed(names: AbstractSet[str]) -> str:
    if not names:
        return "none"
    ordered = sorted(names)
    rest = len(ordered) - SHOWN_NAMES_MAX
    return ", ".join(ordered[:SHOWN_NAMES_MAX]) + (f" and {rest} more" if rest > 0 else "")


_WITH_CHILDREN: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.If, nodes.Compare, nodes.Operand, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add,
    nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Slice,
)  # fmt: skip

_VISITS: dict[type[nodes.Node], Callable[..., None]] = {
    **dict.fromkeys(_WITH_CHILDREN, _Checker.children),
    nodes.TemplateData: _Checker.nothing,
    nodes.Name: _Checker.name,
    nodes.Const: _Checker.const,
    nodes.Getattr: _Checker.attribute,
    nodes.Getitem: _Checker.subscript,
    nodes.And: _Checker.chain,
    nodes.Or: _Checker.chain,
    nodes.Mul: _Checker.times,
    nodes.Mod: _Checker.modulo,
    nodes.Pow: _Checker.power,
    nodes.CondExpr: _Checker.conditional,
    nodes.Filter: _Checker.filter,
    nodes.Test: _Checker.test,
    nodes.Call: _Checker.call,
    nodes.For: _Checker.loop,
    nodes.Assign: _Checker.assignment,
    nodes.AssignBlock: _Checker.block_assignment,
}

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Macro: "{% macro %}",
    nodes.CallBlock: "{% call %}",
    nodes.FilterBlock: "{% filter %}",
    nodes.With: "{% with %}",
    nodes.Block: "{% block %}",
    nodes.Extends: "{% extends %}",
    nodes.Include: "{% include %}",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from %}",
    nodes.NSRef: "namespace()",
    nodes.ScopedEvalContextModifier: "{% autoescape %}",
}
