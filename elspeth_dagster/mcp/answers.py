"""Answers as JSON text that fits: pages get shorter; where that does not help, long texts and lists are cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from elspeth_dagster.landscape import Page
from elspeth_dagster.model.as_json import as_json
from elspeth_dagster.model.row import JSON

ANSWER_BYTES_MAX: Final = 200_000  # what an agent can take in at once, and some more
CUTS: Final = ((20_000, 1_000), (2_000, 200), (500, 50), (200, 20), (100, 5), (40, 2))
"""Characters of a text and items of a list, tried in turn until the answer fits."""


def answer_text(value: object) -> str:
    """One answer as JSON text."""
    plain = as_json(value)
    text = _dumped(plain)
    for chars, items in CUTS:
        if len(text) <= ANSWER_BYTES_MAX:
            return text
        note = f"Cut to fit: texts to {chars:,} characters, lists to {items:,} items."
        text = _dumped({"cut": note, "answer": _cut(plain, chars, items)})
    return text


def page_text(ask: Callable[[int], Page[Any]], limit: int, *, more: Mapping[str, JSON] | None = None) -> str:
    """One page as JSON text; a page that is too large is asked for again, shorter."""
    while True:
        page = ask(limit)
        document = {**(more or {}), "items": page.items, "next": page.next}
        text = _dumped(as_json(document))
        if len(text) <= ANSWER_BYTES_MAX:
            return text
        if limit == 1:
            return answer_text(document)
        limit = max(1, min(limit, len(page)) // 4)


def _cut(value: JSON, chars: int, items: int) -> JSON:
    if isinstance(value, str) and len(value) > chars:
        return f"{value[:chars]}... [{len(value):,} characters]"
    if isinstance(value, list):
        kept = [_cut(item, chars, items) for item in value[:items]]
        return kept if len(value) <= items else [*kept, f"... [{len(value):,} items]"]
    if isinstance(value, dict):
        kept_keys = list(value)[: max(items, 40)]  # an object of our own has fewer keys, a row may have more
        cut = {key: _cut(value[key], chars, items) for key in kept_keys}
        return cut if len(kept_keys) == len(value) else {**cut, "...": f"[{len(value):,} keys]"}
    return value


def _dumped(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
