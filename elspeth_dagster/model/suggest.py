"""The "did you mean" of every message about a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

WORD_CHARS_MAX = 100
"""Longer words are data, not slips of the pen; comparing them costs the square of their length."""

CANDIDATES_MAX = 500
"""More names than a person would choose from; keeps an error cheap when each row has one."""

SIMILARITY_MIN = 0.6
"""Below it, two names have less in common than two words taken at random from one pipeline."""


def suggest(word: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest candidate, or an empty text; made to be appended to a message.

    Case does not count, and ties go to the name that sorts first.
    """
    if len(word) > WORD_CHARS_MAX:
        return ""
    short = islice((name for name in candidates if len(name) <= WORD_CHARS_MAX), CANDIDATES_MAX)
    by_folded = {name.casefold(): name for name in sorted(short, reverse=True)}
    near = difflib.get_close_matches(word.casefold(), sorted(by_folded), n=1, cutoff=SIMILARITY_MIN)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""
