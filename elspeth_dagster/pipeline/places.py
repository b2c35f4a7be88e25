"""Where each value of a declaration stands, so that a mistake can name its line; and reading the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath, TooManyValuesError, Tree

__all__ = ["FILE_BYTES_MAX", "DeclarationPath", "Places", "read_yaml"]

FILE_BYTES_MAX: Final = 1024 * 1024
"""Far beyond any declaration written by hand; a larger file is not one."""

PART_CHARS_MAX: Final = 80
"""As much of one key as a place shows."""

_DAGSTER_STOPS: Final = (
    "A text with a `?` inside {...} or [...] needs quotes here: Dagster reads this file too, and stops at it."
)


@dataclass(frozen=True, slots=True)
class Places:
    """The line of every key and item, counted from 1. ``file`` is None for a declaration made in Python.

    ``text_lines`` are the lines where texts of several lines begin, below the `|` that announces them.
    """

    file: Path | None
    lines: Mapping[DeclarationPath, int] = field(default_factory=dict)
    text_lines: Mapping[DeclarationPath, int] = field(default_factory=dict)

    def shown(self, path: DeclarationPath, *, text_line: int | None = None) -> str:
        """``file:line: steps.mood.prompt``; the nearest known line, where the value itself has none.

        ``text_line`` counts from 1 in a text at ``path``; where the text's place is not known, it is told apart.
        """
        dotted = ".".join(_short(str(part)) for part in path) or "declaration"
        if text_line is not None and text_line > 1 and path not in self.text_lines:
            dotted = f"{dotted}, line {text_line}"
        if self.file is None:
            return dotted
        line = self.line(path, text_line=text_line)
        return f"{self.file.name}:{line}: {dotted}" if line else f"{self.file.name}: {dotted}"

    def line(self, path: DeclarationPath, *, text_line: int | None = None) -> int | None:
        """The line of the value, or of the nearest thing around it."""
        if text_line is not None and path in self.text_lines:
            return self.text_lines[path] + text_line - 1
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def below(self, key: str) -> Places:
        """The places inside ``key``, as if it were the top."""
        return Places(self.file, _below(self.lines, key), _below(self.text_lines, key))


def _short(part: str) -> str:
    """A key as it is shown: one of a megabyte would be the whole message."""
    return part if len(part) <= PART_CHARS_MAX else f"{part[:PART_CHARS_MAX]}…"


def _below(lines: Mapping[DeclarationPath, int], key: str) -> dict[DeclarationPath, int]:
    return {path[1:]: line for path, line in lines.items() if path[:1] == (key,)}


def read_yaml(path: Path, *, document: int | None = None) -> tuple[JSON, Places, list[Mistake]]:
    """The document of ``path``, its places, and mistakes such as a key written twice.

    Of a file with several, ``document`` says which, counted from 0.

    Keys are what is written, also `no` and `on`, which YAML would read as false and true; dates stay text.

    Raises:
        DeclarationError: the file cannot be read, or is no YAML.
    """
    text = _text(path)
    tree = Tree()
    try:
        value = tree.read(text, document=document)
    except yaml.YAMLError as error:
        line, problem = _yaml_problem(error, text)
        raise _unreadable(path, f"{path.name} is no YAML", f"{path.name}:{line}: {problem}") from error
    except (RecursionError, TooManyValuesError) as error:
        what = str(error) if isinstance(error, TooManyValuesError) else "It nests too deeply."
        raise _unreadable(path, f"{path.name} is no declaration", f"{path.name}: {what}") from error
    mistakes = list(tree.mistakes)
    if isinstance(value, dict) and "type" in value:
        mistakes += [Mistake(unquoted, _DAGSTER_STOPS) for unquoted in tree.unquoted]
    return value, Places(path, tree.lines, tree.text_lines), mistakes


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(FILE_BYTES_MAX + 1)
        if len(read) > FILE_BYTES_MAX:
            what = f"it is larger than {FILE_BYTES_MAX:,} bytes, too large for a declaration."
            raise _unreadable(path, f"The declaration {path.name} cannot be read", f"{path.name}: {what}")
        return read.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        what = f"The declaration {path.name} cannot be read"
        raise _unreadable(path, what, f"{path}: {reason}.") from error


def _unreadable(path: Path, what: str, mistake: str) -> DeclarationError:
    return DeclarationError(f"{what}: 1 mistake.", mistakes=(mistake,), where=str(path))


def _yaml_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line, and what is wrong there."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be read"
        if problem == "but found another document":
            problem = "another document begins here: give each pipeline a file of its own"
        return mark.line + 1, f"{problem}."
    position = getattr(error, "position", 0)  # a character that YAML does not allow
    return text.count("\n", 0, position) + 1, str(error).splitlines()[0]
