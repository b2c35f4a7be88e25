"""From the text of a YAML document to plain values, with the line of each.

libyaml reads the text where it is there: unlike the reader in Python, it knows that `{amount: float?}` is right.
What is read is bounded, whatever the document says: an alias is read again wherever it is used, so a few lines of them
could stand for billions of values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import yaml

from elspeth_dagster.model.row import DEPTH_MAX, JSON
from elspeth_dagster.nodes.base import Mistake

DeclarationPath = tuple[str | int, ...]

VALUES_MAX: Final = 100_000
"""More than any declaration written by hand holds, lookups included; read in about a second."""

_SHOWN_CHARS_MAX: Final = 100
"""Of the reader's own words, which repeat what it read."""

_YAML = "tag:yaml.org,2002:"
_MERGE = f"{_YAML}merge"
_AS_WRITTEN = frozenset(f"{_YAML}{name}" for name in ("str", "timestamp", "value", "merge"))
_READ = frozenset(f"{_YAML}{name}" for name in ("null", "bool", "int", "float"))
_COLLECTIONS = frozenset(f"{_YAML}{name}" for name in ("map", "seq"))

_Entries = dict[str, tuple[yaml.Node, yaml.Node]]


class TooManyValuesError(Exception):
    """The document stands for more values than a declaration has."""


_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class Tree:
    """Reads one document. ``lines``, ``text_lines`` and ``mistakes`` are filled on the way.

    ``unquoted`` are texts with a question mark inside braces or brackets, which a reader in Python stops at.
    """

    def __init__(self) -> None:
        self.lines: dict[DeclarationPath, int] = {}
        self.text_lines: dict[DeclarationPath, int] = {}
        self.mistakes: list[Mistake] = []
        self.unquoted: list[DeclarationPath] = []
        self._values = 0
        self._flow_depth = 0

    def read(self, text: str, *, document: int | None = None) -> JSON:
        """The value of the document: the only one, or the one of this number, from 0.

        Raises:
            yaml.YAMLError: the text is no YAML.
            TooManyValuesError: there are more than ``VALUES_MAX`` values, or they nest deeper than a row may.
            RecursionError: they nest far deeper than that.
        """
        _refuse_depth(yaml.parse(text, Loader=_Loader))
        loader = _Loader(text)
        try:
            self._loader = loader
            return self._value(loader.get_single_node() if document is None else _nth(loader, document), ())
        finally:
            loader.dispose()

    def _value(self, node: yaml.Node | None, path: DeclarationPath) -> JSON:
        if node is None:
            return None
        self._count(path)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            self.mistakes.append(Mistake(path, f"The tag {node.tag!r} is not offered."))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        assert isinstance(node, yaml.CollectionNode)  # noqa: S101 - there is no other kind of node
        self._flow_depth += bool(node.flow_style)
        value: JSON
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path)
        else:
            value = [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        self._flow_depth -= bool(node.flow_style)
        return value

    def _count(self, path: DeclarationPath) -> None:
        self._values += 1
        if self._values > VALUES_MAX:
            raise TooManyValuesError(f"It holds more than {VALUES_MAX:,} values, each alias counted in full.")
        if len(path) > DEPTH_MAX:
            raise TooManyValuesError(f"It nests deeper than {DEPTH_MAX} levels.")

    def _mapping(self, node: yaml.MappingNode, path: DeclarationPath) -> dict[str, JSON]:
        made: dict[str, JSON] = {}
        for key, (key_node, value_node) in self._entries(node, path).items():
            self.lines[*path, key] = key_node.start_mark.line + 1
            made[key] = self._value(value_node, (*path, key))
        return made

    def _entries(self, node: yaml.MappingNode, path: DeclarationPath) -> _Entries:
        """The mapping's own keys, and those that `<<` merges into it: they come first, and give way."""
        own: _Entries = {}
        entries: _Entries = {}
        for key_node, value_node in node.value:
            self._count(path)
            if key_node.tag == _MERGE:
                entries.update(self._merged(value_node, path))
            elif not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append(Mistake(path, "A key must be a name, not a list or a mapping."))
            else:
                if key_node.value in own:
                    first = own[key_node.value][0].start_mark.line + 1
                    what = f"The key {key_node.value!r} is written twice: on line {first} too."
                    self.mistakes.append(Mistake((*path, key_node.value), what))
                own[key_node.value] = (key_node, value_node)
        entries.update(own)
        return entries

    def _merged(self, node: yaml.Node, path: DeclarationPath) -> _Entries:
        entries: _Entries = {}
        several = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in reversed(several):  # the first of them wins
            if isinstance(one, yaml.MappingNode):
                entries.update(self._entries(one, path))
            else:
                self.mistakes.append(Mistake(path, "`<<` merges mappings, and nothing else."))
        return entries

    def _scalar(self, node: yaml.ScalarNode, path: DeclarationPath) -> JSON:
        if node.tag in _AS_WRITTEN:
            if node.style == "|":
                self.text_lines[path] = node.start_mark.line + 2
            if self._flow_depth and not node.style and "?" in node.value:
                self.unquoted.append(path)
            return str(node.value)
        if node.tag not in _READ:
            self.mistakes.append(Mistake(path, f"The tag {node.tag!r} is not offered."))
            return None
        try:
            value: JSON = self._loader.construct_object(node)
        except (ValueError, KeyError) as error:  # more digits than Python reads, or a tag that does not fit
            self.mistakes.append(Mistake(path, f"The value cannot be read: {str(error)[:_SHOWN_CHARS_MAX]}."))
            return None
        return value


def _nth(loader: yaml.SafeLoader | yaml.CSafeLoader, document: int) -> yaml.Node | None:
    node = None
    for _ in range(document + 1):
        node = loader.get_node() if loader.check_node() else None
    return node


def _refuse_depth(events: Iterable[yaml.Event]) -> None:
    """Before libyaml's nodes are made: they are made recursively, and that could take the whole process down."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise TooManyValuesError(f"It nests deeper than {DEPTH_MAX} levels.")
