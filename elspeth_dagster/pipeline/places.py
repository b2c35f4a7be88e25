"""Read YAML and remember where each value stands, so that a mistake can name its line."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON

DeclarationPath = tuple[str | int, ...]
FILE_BYTES_MAX = 4 * 1024 * 1024
"""Far beyond any declaration written by hand; a larger file is not one."""


@dataclass(frozen=True, slots=True)
class Places:
    """The line of every key and item, counted from 1. ``file`` is None for a declaration made in Python."""

    file: Path | None
    lines: Mapping[DeclarationPath, int] = field(default_factory=dict)

    def shown(self, path: DeclarationPath) -> str:
        """``file:line: steps.mood.prompt``; the nearest known line, where the value itself has none."""
        dotted = ".".join(str(part) for part in path) or "declaration"
        if self.file is None:
            return dotted
        line = self.line(path)
        return f"{self.file.name}:{line}: {dotted}" if line else f"{self.file.name}: {dotted}"

    def line(self, path: DeclarationPath) -> int | None:
        """The line of the value, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def below(self, key: str) -> Places:
        """The places inside ``key``, as if it were the top."""
        inner = {path[1:]: line for path, line in self.lines.items() if path[:1] == (key,)}
        return Places(self.file, inner)


def read_yaml(path: Path) -> tuple[JSON, Places, list[str]]:
    """The document of ``path``, its places, and mistakes such as a key written twice.

    Raises:
        DeclarationError: the file cannot be read, or is no YAML.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DeclarationError(f"{path} is too large for a declaration.", mistakes=())
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DeclarationError(f"The declaration {path} cannot be read: {reason}", mistakes=()) from error
    reader = _Reader(path)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            value = reader.read(loader, root, ())
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        raise DeclarationError(f"{path.name} is no YAML: {_yaml_problem(error)}", mistakes=()) from error
    return value, Places(path, reader.lines), reader.mistakes


def _yaml_problem(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


class _Reader:
    """Builds the value of a YAML node, and notes the line of each part."""

    def __init__(self, path: Path) -> None:
        self.file = path
        self.lines: dict[DeclarationPath, int] = {}
        self.mistakes: list[str] = []

    def read(self, loader: yaml.SafeLoader, node: yaml.Node | None, path: DeclarationPath) -> JSON:
        if node is None:
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)  # `<<:` merges
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        value: JSON = _plain(loader.construct_object(node))
        return value

    def _mapping(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: DeclarationPath
    ) -> dict[str, JSON]:
        made: dict[str, JSON] = {}
        for key_node, value_node in node.value:
            key = _key(loader.construct_object(key_node))
            inner = (*path, key)
            if key in made:
                self.mistakes.append(
                    f"{Places(self.file, self.lines).shown(inner)}: the key is written twice"
                )
            self.lines[inner] = key_node.start_mark.line + 1
            made[key] = self.read(loader, value_node, inner)
        return made


def _key(key: Hashable) -> str:
    """YAML reads `no:` and `1:` as other things than text; a declaration's keys are names."""
    if key is True:
        return "true"
    if key is False:
        return "false"
    return "null" if key is None else str(key)


def _plain(value: object) -> JSON:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)  # dates, as they are written
