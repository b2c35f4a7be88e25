"""One record as a file has it, before its types are judged; and what of a bad one is kept for the quarantine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from elspeth_dagster.model.columns import RowReader, Violation
from elspeth_dagster.model.row import DEPTH_MAX, JSON, SAFE_INTEGER_MAX, Row

CELL_BYTES_MAX = 1024 * 1024
"""A payload's usual bound: a longer cell could not be recorded."""

RECORD_CHARS_MAX = 8 * 1024 * 1024
"""Several full cells fit; a quote or brace that is never closed cannot take the memory."""

RAW_CHARS_MAX = 128 * 1024
"""What the quarantine keeps of one bad record: enough to mend it by hand, and under a payload's bound (1 MiB)
even where every character is escaped."""

RAW_TEXT_CHARS_MAX = 32 * 1024
"""And of one text in it, so that one long cell does not cost the quarantine the others."""

_ITEM_CHARS = 8
"""What an item costs of that bound beside its text: quotes, comma, braces."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large one cell and one record of a file may be."""

    cell_bytes_max: int = CELL_BYTES_MAX
    record_chars_max: int = RECORD_CHARS_MAX


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record in its file's order.

    ``index`` counts all records from 0, bad ones too. ``fields`` are those that could be read: all of them if there are
    no ``violations``, None if there is nothing to name. ``content`` is what ``raw`` shows.
    ``line`` is the record's first line, from 1. ``bytes_read`` is how far into the file the reading is, its
    read-ahead included: a progress, not a position.
    """

    index: int
    fields: Mapping[str, JSON] | None
    content: object
    violations: tuple[Violation, ...]
    line: int
    bytes_read: int

    @property
    def raw(self) -> JSON:
        """The record for the quarantine: always recordable, over-long parts cut with a visible note."""
        return recordable(self.content)


def read_row(record: RawRecord, reader: RowReader) -> tuple[Row | None, tuple[Violation, ...]]:
    """The record's row, or None with every violation: those of its form first, then those of its readable fields."""
    if record.fields is None:
        return None, record.violations
    row, found = reader(record.fields)
    if not record.violations:
        return row, found
    named = {violation.field for violation in record.violations}
    more = [violation for violation in found if violation.field not in named]
    return None, (*record.violations, *more)


def recordable(value: object) -> JSON:
    """``value`` as canonical JSON can hold it: what JSON lacks is written out as text, what is long is cut."""
    return _Cutter().kept(value, 0)


class _Cutter:
    """Keeps values until ``RAW_CHARS_MAX`` is spent, then says how much it left out."""

    def __init__(self) -> None:
        self._left = RAW_CHARS_MAX

    def kept(self, value: object, depth: int) -> JSON:
        self._left -= _ITEM_CHARS
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) <= SAFE_INTEGER_MAX:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if depth < DEPTH_MAX and isinstance(value, Mapping):
            return self._mapping(value, depth)
        if depth < DEPTH_MAX and isinstance(value, list | tuple):
            return self._items(value, depth)
        return self._text(value if isinstance(value, str) else _written(value))

    def _mapping(self, value: Mapping[object, object], depth: int) -> JSON:
        kept: dict[str, JSON] = {}
        for count, (name, item) in enumerate(value.items()):
            if self._left <= 0:
                kept["…"] = f"[cut: {len(value) - count} more fields]"
                break
            key = self._text(str(name))
            kept[key] = self.kept(item, depth + 1)
        return kept

    def _items(self, value: list[object] | tuple[object, ...], depth: int) -> JSON:
        kept: list[JSON] = []
        for count, item in enumerate(value):
            if self._left <= 0:
                kept.append(f"[cut: {len(value) - count} more items]")
                break
            kept.append(self.kept(item, depth + 1))
        return kept

    def _text(self, text: str) -> str:
        room = max(min(self._left, RAW_TEXT_CHARS_MAX), 0)
        self._left -= min(len(text), room)
        shown = text if len(text) <= room else f"{text[:room]}… [cut: {len(text) - room} more characters]"
        return shown if shown.isascii() else shown.encode("utf-8", _ESCAPED).decode()


_ESCAPED = "backslashreplace"


def _written(value: object) -> str:
    try:
        return str(value)
    except (
        ValueError,
        RecursionError,
    ):  # an integer too long, or a value nested too deeply, to be written out
        return f"[a {type(value).__name__} that cannot be written out]"
