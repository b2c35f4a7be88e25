"""Read each part of a declaration by itself.

A part with a mistake is read as far as it goes, so that the other mistakes of the declaration can be found as well: a
key that is wrong is left out, and whatever rests on it is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import NodeConfig
from elspeth_dagster.nodes.kinds import SINK_KINDS, SOURCE_KINDS, STEP_KINDS
from elspeth_dagster.pipeline.graph import SOURCE, Role
from elspeth_dagster.pipeline.mistakes import keys_of, kind_of, mistakes_of, unknown_key
from elspeth_dagster.pipeline.places import PART_CHARS_MAX
from elspeth_dagster.pipeline.spec import NODE_SECTIONS, Head
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

Report = Callable[[DeclarationPath, str], None]
_Model = TypeVar("_Model", bound=BaseModel)
_Config = TypeVar("_Config", bound=NodeConfig)


@dataclass(frozen=True, slots=True)
class Read(Generic[_Model]):
    """A part as far as it could be read. ``doubtful`` are the keys that were left out or probably misspelt."""

    model: _Model | None
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Part:
    """A node of a declaration: as it was written, and as far as it could be read."""

    name: str
    role: Role
    path: DeclarationPath
    written: Mapping[str, JSON]
    config: NodeConfig | None
    doubtful: frozenset[str] = frozenset()

    def text(self, key: str) -> str | None:
        """What is written under ``key``, if it is text."""
        value = self.written.get(key)
        return value if isinstance(value, str) else None

    @property
    def are_columns_known(self) -> bool:
        """Whether its configuration is whole enough to say which columns leave it."""
        return self.config is not None and self.doubtful <= self.config.operational


@dataclass(slots=True)
class Parts:
    """All parts of a declaration. ``models`` are the names of its models, None where they cannot be read.

    Without ``source`` and both sections, nothing can be said about how the nodes fit together: then ``is_whole`` is
    false.
    """

    head: Head | None
    models: tuple[str, ...] | None
    source: Part
    steps: dict[str, Part] = field(default_factory=dict)
    sinks: dict[str, Part] = field(default_factory=dict)
    is_whole: bool = True


def read_parts(attributes: Mapping[str, JSON], report: Report) -> Parts:
    """Each part by itself; every mistake goes to ``report``."""
    head_keys = {key: value for key, value in attributes.items() if key not in NODE_SECTIONS}
    head = _read(Head, head_keys, (), report, other_keys=NODE_SECTIONS)
    models = attributes.get("models") or {}
    parts = Parts(
        head=None if head.doubtful else head.model,
        models=tuple(models) if isinstance(models, dict) else None,
        source=Part(SOURCE, "source", (SOURCE,), {}, None),
    )
    if attributes.get(SOURCE) is None and SOURCE not in head.doubtful:
        report((), f"The key {SOURCE!r} is missing.")
    elif SOURCE in attributes:
        parts.source = _node(SOURCE, attributes[SOURCE], "source", SOURCE_KINDS, report)
    steps = _section(attributes, "steps", "step", STEP_KINDS, report)
    sinks = _section(attributes, "sinks", "sink", SINK_KINDS, report)
    parts.steps, parts.sinks = steps or {}, sinks or {}
    is_misspelt = not head.doubtful.isdisjoint(NODE_SECTIONS)
    parts.is_whole = steps is not None and sinks is not None and not is_misspelt
    return parts


def _section(
    attributes: Mapping[str, JSON],
    section: str,
    role: Role,
    kinds: Mapping[str, type[_Config]],
    report: Report,
) -> dict[str, Part] | None:
    declared = attributes.get(section)
    if declared is None:
        return {}
    if not isinstance(declared, dict):
        report((section,), f"Expected names and what they are, found {kind_of(declared)}.")
        return None
    return {name: _node(name, value, role, kinds, report) for name, value in declared.items()}


def _node(name: str, written: JSON, role: Role, kinds: Mapping[str, type[_Config]], report: Report) -> Part:
    path: DeclarationPath = (SOURCE,) if role == "source" else (f"{role}s", name)
    if not isinstance(written, dict):
        report(path, f"Expected keys such as `kind:`, found {kind_of(written)}.")
        return Part(name, role, path, {}, None)
    kind = written.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        said = (
            "The key 'kind' is missing."
            if kind is None
            else f"Unknown kind {str(kind)[:PART_CHARS_MAX]!r}.{suggest(str(kind), kinds)}"
        )
        where = path if kind is None else (*path, "kind")
        report(where, f"{said} Kinds here: {', '.join(kinds)}.")
        return Part(name, role, path, written, None)
    read = _read(kinds[kind], written, path, report)
    return Part(name, role, path, written, read.model, read.doubtful)


def _read(
    model: type[_Model],
    written: Mapping[str, JSON],
    path: DeclarationPath,
    report: Report,
    *,
    other_keys: tuple[str, ...] = (),
) -> Read[_Model]:
    """Validate; then again without what is wrong. ``other_keys`` stand beside the model's, and are not its own."""
    keys = (*keys_of(model), *other_keys)
    unknown = [key for key in written if key not in keys]
    for key in unknown:
        report((*path, key), unknown_key(key, keys))
    misspelt = frozenset(name for key in unknown for name in (key, _nearest(key, keys) or key))
    given, doubtful = {key: value for key, value in written.items() if key in keys}, set(misspelt)
    try:
        return Read(model.model_validate(given), misspelt)
    except ValidationError as error:
        for mistake in mistakes_of(error, model):
            wrong = str(mistake.path[0]) if mistake.path else None
            if wrong in written or wrong not in misspelt:  # a missing key that was misspelt is told already
                report((*path, *mistake.path), mistake.what)
            if wrong is not None:
                doubtful.add(wrong)
                given.pop(wrong, None)
    try:
        return Read(model.model_validate(given), frozenset(doubtful))
    except ValidationError:  # a key that must be there is wrong
        return Read(None, frozenset(doubtful))


def _nearest(word: str, candidates: tuple[str, ...]) -> str | None:
    """The candidate that the message suggests."""
    said = suggest(word, candidates)
    return next((name for name in candidates if said.endswith(f" {name!r}?")), None)
