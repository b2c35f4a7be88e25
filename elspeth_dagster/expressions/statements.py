"""Statements: text, `{{ }}`, `{% if %}`, `{% for %}` and `{% set %}`, each as a closure that writes into a sink.

A loop's body sees a copy of the names around it, so what it sets does not leak out, as in Jinja. Each round costs as
many steps as the body has nodes, which is what ends a loop in a loop in a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

from jinja2 import nodes

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.evaluate import build
from elspeth_dagster.expressions.limits import TEXT_CHARS_MAX
from elspeth_dagster.expressions.logic import Evaluate
from elspeth_dagster.expressions.sandbox import walk
from elspeth_dagster.expressions.values import Frame, items_of, kind_name, text_of
from elspeth_dagster.model.row import JSON

LOOP_FIELDS = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"}
)
"""What a loop's body can ask `loop`. The first item has no `previtem`, the last no `nextitem`."""


class Sink:
    """The text written so far; bounded."""

    __slots__ = ("_chars", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._chars = 0

    def write(self, text: str) -> None:
        """Append ``text``, or raise `ExpressionError` when the whole becomes too long."""
        self._chars += len(text)
        if self._chars > TEXT_CHARS_MAX:
            raise ExpressionError(f"The text grows beyond {TEXT_CHARS_MAX:,} characters.")
        self._parts.append(text)

    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)


Run: TypeAlias = Callable[[Frame, Sink], None]


def build_body(body: Iterable[nodes.Node]) -> Run:
    """What executes the statements of ``body`` in their order."""
    runs = [_STATEMENTS[type(statement)](statement) for statement in body]
    if len(runs) == 1:
        return runs[0]

    def run(frame: Frame, sink: Sink) -> None:
        for statement in runs:
            statement(frame, sink)

    return run


def _at(line: int, evaluate: Evaluate) -> Evaluate:
    """As ``evaluate``; an error learns the line it happened in."""

    def run(frame: Frame) -> JSON:
        try:
            return evaluate(frame)
        except ExpressionError as error:
            error.where = error.where or f"line {line}"
            raise

    return run


def _build_at(node: nodes.Node) -> Evaluate:
    return _at(node.lineno, build(cast("nodes.Expr", node)))  # where a value stands, jinja2 says just "node"


def _output(node: nodes.Output) -> Run:
    parts: list[str | Evaluate] = [
        part.data if isinstance(part, nodes.TemplateData) else _build_at(part) for part in node.nodes
    ]

    def run(frame: Frame, sink: Sink) -> None:
        for part in parts:
            sink.write(part if isinstance(part, str) else text_of(part(frame), frame.meter))

    return run


def _if(node: nodes.If) -> Run:
    branches = [(_build_at(branch.test), build_body(branch.body)) for branch in (node, *node.elif_)]
    otherwise = build_body(node.else_)

    def run(frame: Frame, sink: Sink) -> None:
        for test, body in branches:
            if test(frame):
                body(frame, sink)
                return
        otherwise(frame, sink)

    return run


def _for(node: nodes.For) -> Run:
    source, assign = _build_at(node.iter), _assigner(node.target)
    test = _build_at(node.test) if node.test is not None else None
    body, otherwise = build_body(node.body), build_body(node.else_)
    steps = sum(1 for _ in walk(node))
    asks_loop = any(isinstance(part, nodes.Name) and part.name == "loop" for part, _ in walk(node))

    def enter(frame: Frame, part: JSON) -> Frame:
        frame.meter.spend(steps)
        inner = Frame(frame, frame.meter)
        assign(inner, part)
        return inner

    def run(frame: Frame, sink: Sink) -> None:
        items = items_of(source(frame), frame.meter, act="loop over")
        if test is not None:
            items = [part for part in items if test(enter(frame, part))]
        for index, part in enumerate(items):
            inner = enter(frame, part)
            if asks_loop:
                inner["loop"] = _loop_info(index, items)
            body(inner, sink)
        if not items:
            otherwise(Frame(frame, frame.meter), sink)

    return run


def _loop_info(index: int, items: list[JSON]) -> JSON:
    last = len(items) - 1
    info: dict[str, JSON] = {
        "index": index + 1,
        "index0": index,
        "revindex": last - index + 1,
        "revindex0": last - index,
        "first": index == 0,
        "last": index == last,
        "length": last + 1,
    }
    if index > 0:
        info["previtem"] = items[index - 1]
    if index < last:
        info["nextitem"] = items[index + 1]
    return info


def _set(node: nodes.Assign) -> Run:
    value, assign = _build_at(node.node), _assigner(node.target)
    return lambda frame, _sink: assign(frame, value(frame))


def _set_block(node: nodes.AssignBlock) -> Run:
    body, assign = build_body(node.body), _assigner(node.target)

    def run(frame: Frame, _sink: Sink) -> None:
        inner = Sink()
        body(Frame(frame, frame.meter), inner)
        text = inner.text()
        frame.meter.spend_text(len(text))
        assign(frame, text)

    return run


def _assigner(target: nodes.Node) -> Callable[[Frame, JSON], None]:
    """What sets one name, or several from a list of just as many."""
    if isinstance(target, nodes.Name):
        name = target.name

        def assign(frame: Frame, value: JSON) -> None:
            frame[name] = value

        return assign
    names = [cast("nodes.Name", part).name for part in cast("nodes.Tuple", target).items]

    def unpack(frame: Frame, value: JSON) -> None:
        if not isinstance(value, list) or len(value) != len(names):
            got = f"{len(value)} items" if isinstance(value, list) else f"a {kind_name(value)}"
            raise ExpressionError(f"{', '.join(names)} need a list of {len(names)} items, not {got}.")
        frame.update(zip(names, value, strict=True))

    return unpack


_STATEMENTS: dict[type[nodes.Node], Callable[..., Run]] = {
    nodes.Output: _output,
    nodes.If: _if,
    nodes.For: _for,
    nodes.Assign: _set,
    nodes.AssignBlock: _set_block,
}
