"""`keyword_filter`: a row in which a pattern is found is rejected; `on_error` says where it goes.

It fails closed: a text that is too long to be searched, or a field that is not there, rejects the row too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home, Mistake, StepConfig
from elspeth_dagster.nodes.pattern import compiled, pattern_mistake

TEXT_CHARS_MAX: Final = 100_000
"""The longest text that is searched: the time of some patterns grows with the square of it, and cannot be cut short."""

PATTERNS_MAX: Final = 1000
"""Each is searched for in each field of each row; more words than this are a table, not patterns."""


def _list_or_names(value: object) -> object:
    """One message where pydantic would give one for each member of the union."""
    texts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("Expected a list of patterns, or names and patterns, each a text in quotes.")
    if not 1 <= len(texts) <= PATTERNS_MAX:
        raise ValueError(f"There are 1 to {PATTERNS_MAX:,} patterns, not {len(texts)}.")
    return value


class KeywordFilterConfig(StepConfig):
    """Python regular expressions, looked for anywhere in the fields; `(?i)` in front: in either case."""

    kind: Literal["keyword_filter"]
    max_error_rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The share of matches that stops the step; by default none: matching is its work.",
    )
    fields: list[str] = Field(min_length=1, description="The fields to search, in order.")
    patterns: Annotated[list[str] | dict[str, str], BeforeValidator(_list_or_names)] = Field(
        description="Python regular expressions; with names, the name of the one that was found is recorded."
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Fields that are not there, patterns that are wrong or might search without end."""
        _ = home
        for index, name in enumerate(self.fields):
            if columns is not None and name not in columns:
                there = ", ".join(columns) or "none"
                what = f"Field {name!r} does not reach this step. Columns there: {there}.{suggest(name, columns)}"
                yield Mistake(("fields", index), what)
        for key, pattern in self._named():
            if (what_is_wrong := pattern_mistake(pattern)) is not None:
                yield Mistake(("patterns", key), what_is_wrong)

    def decision(self, home: Home) -> dict[str, JSON]:
        """The patterns as a list: the first that is found is the one that is recorded."""
        patterns: list[JSON] = [[key, pattern] for key, pattern in self._named()]
        return {**super().decision(home), "patterns": patterns}

    def compile(self, home: Home) -> _Filter:
        """Make it ready for rows."""
        _ = home
        return _Filter(tuple(self.fields), tuple((key, compiled(pattern)) for key, pattern in self._named()))

    def _named(self) -> list[tuple[str | int, str]]:
        """The patterns, each with its name or its index."""
        if isinstance(self.patterns, dict):
            return list(self.patterns.items())
        return list(enumerate(self.patterns))


@dataclass(frozen=True, slots=True)
class _Filter:
    fields: tuple[str, ...]
    patterns: tuple[tuple[str | int, re.Pattern[str]], ...]

    def decide(self, row: Row) -> Decision:
        for field in self.fields:
            if field not in row:
                return Rejected(
                    "missing_field", f"The row has no field {field!r} to search.", facts={"field": field}
                )
            text = _text(row[field])
            if len(text) > TEXT_CHARS_MAX:
                facts: dict[str, JSON] = {"field": field, "chars": len(text), "chars_max": TEXT_CHARS_MAX}
                return Rejected("text_too_long", f"Field {field!r} is too long to be searched.", facts=facts)
            for key, pattern in self.patterns:
                if pattern.search(text):
                    return Rejected("keyword_matched", facts={"field": field, "pattern": key})
        return Emitted(row)


def _text(value: JSON) -> str:
    """A text as it is, nothing for a null, and of anything else its JSON, so that no list hides a word."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
