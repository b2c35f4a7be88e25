"""From source text to a syntax tree of bounded size. jinja2 reads the language; nothing of its runtime is used.

Jinja's own runtime turns a template into Python code that works on Python objects, and then has to fence them in: a
field called `items` prints a method's address, `'a' * 999999999` is computed while compiling, nested loops run for
hours. Here the tree is evaluated directly instead, over JSON values and a counted number of steps, which also takes a
quarter of the time for a condition. The environment is the immutable sandbox all the same, with the optimizer (which
computes) off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import (
    BRACKETS_MAX,
    DEPTH_MAX,
    EXPRESSION_CHARS_MAX,
    NODES_MAX,
    TEMPLATE_CHARS_MAX,
)

T = TypeVar("T", bound=nodes.Node)

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, optimized=False, autoescape=False)

_TOO_DEEP = "This is nested too deeply to be read."


def parse_template(source: str) -> nodes.Template:
    """The syntax tree of a template.

    Raises:
        ExpressionError: it is no template, too long or too deep; ``where`` names the line if it is known.
    """
    _check_source(source, TEMPLATE_CHARS_MAX)
    return _parsed(lambda: _parse(source, state=None))


def parse_expression(source: str) -> nodes.Expr:
    """The syntax tree of one expression, written without ``{{ }}``.

    Raises:
        ExpressionError: it is no expression, too long or too deep; ``where`` names the line if it is known.
    """
    _check_source(source, EXPRESSION_CHARS_MAX)
    if source.lstrip().startswith(("{{", "{%")):
        raise ExpressionError("An expression stands here by itself: leave out the braces around it.")
    return _parsed(lambda: _parse_one(source))


def walk(root: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Every node with its level. A chain of `and` or of `or` is one level, as it is evaluated in one go."""
    waiting = [(root, 0)]
    while waiting:
        node, level = waiting.pop()
        yield node, level
        chain = node.left if isinstance(node, nodes.And | nodes.Or) else None
        for child in node.iter_child_nodes():
            same = child is chain and type(child) is type(node)
            waiting.append((child, level if same else level + 1))


def operands(node: nodes.And | nodes.Or) -> list[nodes.Expr]:
    """The operands of ``a or b or c``, which jinja2 reads as ``(a or b) or c``."""
    found = [node.right]
    left = node.left
    while isinstance(left, nodes.And | nodes.Or) and type(left) is type(node):
        found.append(left.right)
        left = left.left
    return [left, *reversed(found)]


def _parse(source: str, *, state: str | None) -> nodes.Template:
    _check_brackets(source, state)
    return Parser(_ENVIRONMENT, source, state=state).parse()


def _parse_one(source: str) -> nodes.Expr:
    _check_brackets(source, "variable")
    parser = Parser(_ENVIRONMENT, source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        token = parser.stream.current
        raise TemplateSyntaxError(f"the expression ends before {token.value!r}", token.lineno)
    return expression


def _parsed(parse: Callable[[], T]) -> T:
    try:
        tree = parse()
    except TemplateSyntaxError as error:
        raise ExpressionError(
            _sentence(error.message or "unreadable"), where=f"line {error.lineno}"
        ) from None
    except RecursionError:
        raise ExpressionError(_TOO_DEEP) from None
    except (ValueError, OverflowError):  # Python reads no integer of thousands of digits
        raise ExpressionError("A number here is too long to be read.") from None
    _check_tree(tree)
    return tree


def _check_source(source: str, chars_max: int) -> None:
    if len(source) > chars_max:
        raise ExpressionError(f"The source has {len(source):,} characters; at most {chars_max:,} are read.")
    try:
        source.encode()
    except UnicodeEncodeError:
        raise ExpressionError("The source has a lone surrogate, which UTF-8 cannot hold.") from None


def _check_brackets(source: str, state: str | None) -> None:
    open_now = 0
    for line, kind, text in _ENVIRONMENT.lexer.tokeniter(source, None, state=state):
        if kind != "operator":
            continue
        open_now += (text in "([{") - (text in ")]}")
        if open_now > BRACKETS_MAX:
            raise ExpressionError(
                f"More than {BRACKETS_MAX} brackets are open at once.", where=f"line {line}"
            )


def _check_tree(tree: nodes.Node) -> None:
    for count, (node, level) in enumerate(walk(tree), 1):
        if level > DEPTH_MAX:
            raise ExpressionError(_TOO_DEEP, where=f"line {node.lineno}")
        if count > NODES_MAX:
            raise ExpressionError(f"This has more than {NODES_MAX:,} parts.", where=f"line {node.lineno}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
