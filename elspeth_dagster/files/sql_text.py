"""A query as it is declared: one SELECT that stands for itself, with `{partition}` as a parameter.

Read by its tokens only, so that the end of a comment or a bracket that closes too much cannot lead out of it. What else
a database may make of it is held back by the transaction, which only reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from elspeth_dagster.model.suggest import suggest

PARTITION: Final = "{partition}"
PARAMETER: Final = "elspeth_partition"

_TOKEN: Final = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<text>[eE]?'(?:[^']|'')*'|(?P<dollar>\$(?:[A-Za-z_]\w*)?\$).*?(?P=dollar))
    |(?P<name>"(?:[^"]|"")*"|`[^`]*`|\[[A-Za-z_][^\]\n,]*\])
    |(?P<open>/\*|'|")
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BRACES: Final = re.compile(r"\{(\w+)\}")


def query_mistakes(query: str) -> Iterator[str]:
    """What is wrong with a query, whatever the database: the first thing, and placeholders that are misspelt."""
    tokens = [(_kind(token), token.group()) for token in _TOKEN.finditer(query)]
    telling = [(kind, text) for kind, text in tokens if kind != "comment" and not text.isspace()]
    if what := _wrong_with(telling):
        yield what
    for name in _BRACES.findall(query):
        if name != "partition" and (near := suggest(name, ["partition"])):
            yield f"It holds the unknown placeholder {{{name}}}.{near}"


def _wrong_with(tokens: list[tuple[str, str]]) -> str | None:
    first = next((text for _, text in tokens if text != "("), None)
    if first is None:
        return "The query is empty."
    if any(kind == "open" for kind, _ in tokens):
        return "A quote or comment is never closed."
    if first.upper() not in {"SELECT", "WITH", "VALUES"}:
        return f"A source only reads: its query is a SELECT, not {first[:20]!r}."
    if ("sign", ";") in tokens[:-1]:
        return "It holds more than one statement: write one SELECT."
    if any(kind == "text" and PARTITION in text for kind, text in tokens):
        return f"{PARTITION} is bound as a parameter: write it without quotes around it."
    depth = 0
    for kind, text in tokens:
        depth += {"(": 1, ")": -1}.get(text, 0) if kind == "sign" else 0
        if depth < 0:
            break
    return "Its brackets do not match." if depth else None


def _kind(token: re.Match[str]) -> str:
    kind = str(token.lastgroup)
    return "text" if kind == "dollar" else kind


def has_partition(query: str) -> bool:
    """Whether it takes the partition's key."""
    return PARTITION in query


def bare(query: str) -> str:
    """The query without the semicolon at its end, so that it can stand inside another."""
    end = None
    for token in _TOKEN.finditer(query):
        if token.lastgroup == "sign" and token.group() == ";":
            end = token.start()
    return query if end is None else query[:end] + query[end + 1 :]


def as_text(statement: str) -> str:
    """``statement`` for SQLAlchemy's ``text``: colons are the author's own, `{partition}` is our parameter."""
    return statement.replace(":", r"\:").replace(PARTITION, f":{PARAMETER}")
