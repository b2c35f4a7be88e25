"""Patterns that people declare: compiled at load, with the shapes refused that can take time without end.

Python's matcher tries every way in which a pattern can fit. Where a group that repeats holds something that repeats as
well, as in `(a+)+`, the number of ways doubles with every character, and nothing can interrupt it: such patterns are
refused here, by their text. Two unbounded repetitions that may take the same text one after the other, as in `.*.*x`,
are not refused: their time grows with a power of the length, which is why the text that is searched must be bounded.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

PATTERN_CHARS_MAX: Final = 1000
"""A longer pattern is a list of patterns."""

REPEATS_MAX: Final = 16
"""A group that repeats up to this often multiplies the ways, but only by what a person can count."""

_TOKEN = re.compile(
    r"""
    (?P<escape> \\. )
  | (?P<set> \[ \^? \]? (?: \\. | [^\]\\] )* \] )
  | (?P<comment> \(\?\# [^)]* \) )
  | (?P<open> \( (?: \?P?<?[^:)=!>'(|]*[:=!>] | \?\([^)]*\) | \?>? )? )
  | (?P<close> \) )
  | (?P<bar> \| )
  | (?P<repeat> (?: [*+?] | \{ \d* (?: , \d* )? \} ) [?+]? )
  | (?P<plain> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_VERBOSE_FLAG = re.compile(r"\(\?[aiLmsu]*x[a-zA-Z]*(?:-[a-zA-Z]+)?[:)]")


def pattern_mistake(pattern: str) -> str | None:
    """What is wrong with ``pattern``; None if it may be used."""
    if not pattern:
        return "The pattern is empty: it would match every row."
    if len(pattern) > PATTERN_CHARS_MAX:
        return f"A pattern has at most {PATTERN_CHARS_MAX:,} characters."
    if _VERBOSE_FLAG.search(pattern):
        return "The flag `x` is not offered: write the pattern without spaces."
    try:
        compiled(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"It is no regular expression: {error}."
    inner = next(_endless(pattern), None)
    if inner is None:
        return None
    return (
        f"{inner!r} repeats what can repeat or fit in several ways already, and could search without end. "
        "Write it without one of the repetitions, or make the inner one possessive (`++`, `*+`)."
    )


def compiled(pattern: str) -> re.Pattern[str]:
    """``pattern``, ready to search."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `[[` may mean something else one day
        return re.compile(pattern)


@dataclass(slots=True)
class _Group:
    """One open group: where it begins, and what it holds so far."""

    start: int
    is_atomic: bool = False
    varies: bool = False
    is_plain_choice: bool = True
    first_chars: list[str] = field(default_factory=lambda: [""])

    @property
    def is_ambiguous(self) -> bool:
        """Whether the same text may fit it in more than one way."""
        firsts = self.first_chars
        if len(firsts) > 1 and (not self.is_plain_choice or "" in firsts or len(set(firsts)) < len(firsts)):
            return True
        return self.varies


def _endless(pattern: str) -> Iterator[str]:
    """The groups that repeat, each with its repetition, and that may be ambiguous inside."""
    open_groups = [_Group(0)]
    closed: _Group | None = None
    for token in _TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token.group()
        group = open_groups[-1]
        if kind == "open":
            open_groups.append(_Group(token.start(), is_atomic=text == "(?>"))
            if not group.first_chars[-1]:
                group.first_chars[-1], group.is_plain_choice = text, False
        elif kind == "close" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1].varies |= closed.is_ambiguous and not closed.is_atomic
            continue
        elif kind == "bar":
            group.first_chars.append("")
        elif kind == "repeat":
            if closed is not None and _repeats(text) and closed.is_ambiguous and not closed.is_atomic:
                yield pattern[closed.start : token.end()]
            group.varies |= _varies(text)
        elif kind != "comment" and not group.first_chars[-1]:
            group.first_chars[-1] = text.casefold()
            group.is_plain_choice &= kind == "plain" and text != "."
        closed = None


def _bounds(repeat: str) -> tuple[int, int | None]:
    """Least and most times; None is without end."""
    if repeat[0] in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[repeat[0]]
    least, comma, most = repeat[1 : repeat.index("}")].partition(",")
    if not comma:
        return int(least or 0), int(least or 0)
    return int(least or 0), int(most) if most else None


def _varies(repeat: str) -> bool:
    """Whether it may take more or less of the same text, and come back for it."""
    least, most = _bounds(repeat)
    return least != most and not repeat.endswith("+") if len(repeat) > 1 else least != most


def _repeats(repeat: str) -> bool:
    """Whether it repeats more often than can be counted."""
    most = _bounds(repeat)[1]
    return not (len(repeat) > 1 and repeat.endswith("+")) and (most is None or most > REPEATS_MAX)
