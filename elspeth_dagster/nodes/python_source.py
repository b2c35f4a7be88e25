"""The source text that a function stands on: its own, and what it names in its module and in its folder's modules.

A changed threshold or helper decides as differently as a changed function. The text is followed statically, so that
the hash is the same in every process and whatever the module did when it was imported. Installed packages are not
followed; what a name is bound to by other means than a statement of the module is not seen. Comments and blank lines
decide nothing.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from elspeth_dagster.nodes.python_import import Folder

_WHOLE = "*"
"""Stands for every statement of a module."""

_Wanted = tuple[str, str]
"""A module and a name in it."""


def source_hash(module: ModuleType, name: str, folder: Folder) -> str:
    """sha256 of the text behind ``name``; of the name alone where there is no text, as in a built-in module."""
    modules: dict[str, _Source | None] = {module.__name__: _source_of(module)}
    taken: dict[tuple[str, int], str] = {}
    todo: list[_Wanted] = [(module.__name__, name)]
    seen: set[_Wanted] = set()
    while todo:
        wanted = todo.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        module_name, wanted_name = wanted
        if module_name not in modules:
            file = folder.file(module_name)
            modules[module_name] = None if file is None else _Source.read(file)
        source = modules[module_name]
        if source is None:
            continue
        for statement in source.statements(wanted_name):
            taken[module_name, statement.lineno] = source.text(statement)
            todo += _named(statement, module_name, is_package=source.is_package)
    parts = [[place[0], text] for place, text in sorted(taken.items())]
    return hashlib.sha256(json.dumps([module.__name__, name, parts]).encode()).hexdigest()


def _source_of(module: ModuleType) -> _Source | None:
    file = getattr(module, "__file__", None)
    return _Source.read(Path(file)) if file and file.endswith(".py") else None


@dataclass(frozen=True, slots=True)
class _Source:
    """One module's text and its top-level statements."""

    lines: list[str | None]
    body: list[ast.stmt]
    is_package: bool

    @classmethod
    def read(cls, file: Path) -> _Source | None:
        try:
            text = file.read_bytes()
            body = ast.parse(text).body
            lines = _without_comments(text)
        except (OSError, SyntaxError, ValueError, tokenize.TokenError):
            return None
        return cls(lines, body, file.name == "__init__.py")

    def statements(self, name: str) -> Iterator[ast.stmt]:
        """Those that may have a say in what ``name`` is."""
        for statement in self.body:
            if name == _WHOLE or not {name, _WHOLE}.isdisjoint(_has_a_say_in(statement)):
                yield statement

    def text(self, statement: ast.stmt) -> str:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        lines = self.lines[first - 1 : statement.end_lineno]
        return "\n".join(line for line in lines if line is not None)


def _without_comments(text: bytes) -> list[str | None]:
    """The lines of ``text``; None where there is nothing but a comment, or nothing."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(text).readline)
    whole = io.StringIO(text.decode(encoding, "replace"), newline=None).read()
    there = whole.split("\n")
    lines: list[str | None] = [*there]
    for token in tokenize.generate_tokens(io.StringIO(whole).readline):
        if token.type in {tokenize.COMMENT, tokenize.NL}:
            at, column = token.start[0] - 1, token.start[1]
            before = there[at][:column]
            if not before.strip():
                lines[at] = None
            elif token.type == tokenize.COMMENT:
                lines[at] = before.rstrip()
    return lines


def _has_a_say_in(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds or, like `RULES.append(...)`, may change."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def _named(statement: ast.stmt, module_name: str, *, is_package: bool) -> Iterator[_Wanted]:
    """What the text of ``statement`` names: in its own module, and through imports in others."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield module_name, node.id
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, _WHOLE
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module_name, is_package=is_package)
            for alias in node.names:
                yield origin, alias.name
                yield f"{origin}.{alias.name}", _WHOLE  # where it is a module itself


def _origin(node: ast.ImportFrom, module_name: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parents = module_name.split(".")
    parents = parents[: len(parents) - node.level + (1 if is_package else 0)]
    return ".".join([*parents, *([node.module] if node.module else [])])
