"""Lines for people: wrapped to the terminal's width, coloured where there is one, and safe to print.

Rows and answers come from anywhere: control characters in them are written out, never sent to the terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

WIDTH_WITHOUT_TERMINAL: Final = 80
WIDTH_MAX: Final = 100  # longer lines are hard to read
_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

# Beside control characters: marks that turn the direction of writing, and would show a text as another one.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    style: str | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Symbols:
    """Drawing characters, or their stand-ins where the output cannot encode them."""

    rule: str = "─"
    branch: str = "├─ "
    last: str = "└─ "
    stem: str = "│  "
    arrow: str = "→"
    dot: str = "·"
    ellipsis: str = "…"
    check: str = "✓"
    cross: str = "✗"


ASCII: Final = Symbols("-", "|- ", "`- ", "|  ", "->", "-", "...", "ok", "!!")


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where output goes."""

    stream: TextIO
    width: int
    is_coloured: bool
    symbols: Symbols

    def paint(self, text: str, style: str | None) -> str:
        """``text`` in a style, or in several joined by spaces."""
        if not self.is_coloured or not style or not text:
            return text
        codes = ";".join(_CODES[name] for name in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m"

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line as it is; what comes from outside must be `safe`."""
        self.stream.write(f"{self.paint(text, style)}\n")

    def rule(self) -> None:
        """A line across."""
        self.line(self.symbols.rule * self.width, "dim")

    def heading(self, text: str) -> None:
        """A section's title, with a blank line before it."""
        self.line()
        self.line(text, "bold")

    def wrapped(
        self, text: str, *, first: str = "", rest: str | None = None, style: str | None = None
    ) -> None:
        """A paragraph; ``first`` and ``rest`` go before its first and further lines."""
        rest = " " * cell_width(first) if rest is None else rest
        room = max(20, self.width - max(cell_width(first), cell_width(rest)))
        lines = textwrap.wrap(text, room, break_long_words=True, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            prefix = rest if number else first
            self.stream.write(f"{prefix}{self.paint(line, style)}\n")

    def table(self, rows: Sequence[Sequence[Cell]], *, indent: str = "  ", gap: str = "  ") -> None:
        """Columns as wide as their widest cell; a last cell that is too long is cut."""
        if not rows:
            return
        columns = max(len(row) for row in rows)
        widths = [
            max((cell_width(row[at].text) for row in rows if at < len(row)), default=0)
            for at in range(columns)
        ]
        for row in rows:
            made = [self._cell(cell, widths[at], is_last=at == len(row) - 1) for at, cell in enumerate(row)]
            left = sum(widths[: len(row) - 1]) + len(gap) * (len(row) - 1) + len(indent)
            room = self.width - left
            if row and cell_width(row[-1].text) > room > 0 and not row[-1].is_number:
                made[-1] = self.paint(shortened(row[-1].text, room, self.symbols.ellipsis), row[-1].style)
            self.stream.write(f"{indent}{gap.join(made)}".rstrip() + "\n")

    def _cell(self, cell: Cell, width: int, *, is_last: bool) -> str:
        padding = " " * (width - cell_width(cell.text))
        painted = self.paint(cell.text, cell.style)
        if cell.is_number:
            return padding + painted
        return painted if is_last else painted + padding


def stdout_terminal() -> Terminal:
    """Standard output, coloured and as wide as the screen if it is one."""
    return terminal_of(sys.stdout)


def terminal_of(stream: TextIO) -> Terminal:
    """A stream with what can be known about it."""
    is_screen = stream.isatty()
    width = (
        shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns
        if is_screen
        else WIDTH_WITHOUT_TERMINAL
    )
    is_coloured = is_screen and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Terminal(stream, max(40, min(width, WIDTH_MAX)), is_coloured, _symbols(stream))


def _symbols(stream: TextIO) -> Symbols:
    try:
        "─├└│→·…✓✗".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return Symbols()


def safe(text: str) -> str:
    """``text`` on one line, with everything that would move or recolour the terminal written out."""
    return _UNSAFE.sub(lambda found: _NAMED.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def cell_width(text: str) -> int:
    """The columns that ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shortened(text: str, columns: int, ellipsis: str = "…") -> str:
    """``text`` cut to ``columns``, with a sign that it was."""
    if cell_width(text) <= columns:
        return text
    kept, used = [], cell_width(ellipsis)
    for char in text:
        used += _char_width(char)
        if used > columns:
            break
        kept.append(char)
    return "".join(kept).rstrip() + ellipsis
