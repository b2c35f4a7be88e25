"""Load a declaration: from a YAML file, or from the attributes of a Dagster component.

Every mistake is collected before any is reported, each with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Home
from elspeth_dagster.nodes.kinds import SINK_KINDS, SOURCE_KINDS, STEP_KINDS
from elspeth_dagster.pipeline.check import checked
from elspeth_dagster.pipeline.graph import Pipeline
from elspeth_dagster.pipeline.mistakes import keys_of, mistakes_of
from elspeth_dagster.pipeline.places import DeclarationPath, Places, read_yaml
from elspeth_dagster.pipeline.spec import NODE_SECTIONS, Declaration, Head

COMPONENT_TYPE = "elspeth_dagster.PipelineComponent"
_PROJECT_MARKERS = ("workspace.yaml", "pyproject.toml", "dagster.yaml", ".git")
_Config = TypeVar("_Config", bound=BaseModel)


def load_pipeline(path: str | Path) -> Pipeline:
    """The pipeline that a YAML file declares: a Dagster component's `defs.yaml`, or just its attributes.

    Raises:
        DeclarationError: with every mistake, its place and what was probably meant.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "defs.yaml"
    document, places, doubled = read_yaml(file.absolute())
    if not isinstance(document, dict):
        raise DeclarationError(f"{file.name} holds no mapping of keys.", mistakes=(), where=str(file))
    if "type" in document or "attributes" in document:
        if document.get("type") != COMPONENT_TYPE or not isinstance(document.get("attributes"), dict):
            raise DeclarationError(
                f"{file.name} is not a component of type {COMPONENT_TYPE} with attributes.",
                mistakes=(f"type: {document.get('type')!r}",),
            )
        document, places = document["attributes"], places.below("attributes")
    assert isinstance(document, dict)  # noqa: S101 - just checked
    return pipeline_from(document, base=file.absolute().parent, places=places, known_mistakes=doubled)


def pipeline_from(
    attributes: Mapping[str, JSON],
    *,
    base: Path,
    root: Path | None = None,
    places: Places | None = None,
    known_mistakes: list[str] | None = None,
) -> Pipeline:
    """The pipeline that these attributes declare; paths in them are relative to ``base``.

    ``root`` is the project's folder, which paths must stay inside; by default the nearest one above ``base`` that looks
    like one.

    Raises:
        DeclarationError: with every mistake, its place and what was probably meant.
    """
    found = _Findings(places or Places(None), list(known_mistakes or ()))
    home = Home(base=base, root=root or project_root(base))
    declaration = _declared(attributes, found)
    if declaration is None:
        raise found.error(attributes)
    pipeline = checked(declaration, home=home, spec=attributes, places=found.places, report=found.report)
    if found.mistakes or pipeline is None:
        raise found.error(attributes)
    return pipeline


def project_root(base: Path) -> Path:
    """The nearest folder at or above ``base`` that looks like a project's; ``base`` itself if none does."""
    for folder in (base, *base.parents):
        if any((folder / marker).exists() for marker in _PROJECT_MARKERS):
            return folder
    return base


@dataclass(slots=True)
class _Findings:
    places: Places
    mistakes: list[str] = field(default_factory=list)

    def report(self, path: DeclarationPath, what: str) -> None:
        self.mistakes.append(f"{self.places.shown(path)}: {what}")

    def error(self, attributes: Mapping[str, JSON]) -> DeclarationError:
        name = attributes.get("name")
        count = f"{len(self.mistakes)} mistake{'s' if len(self.mistakes) != 1 else ''}"
        return DeclarationError(f"Pipeline {name!r} cannot be loaded: {count}.", mistakes=self.mistakes)


def _declared(attributes: Mapping[str, JSON], found: _Findings) -> Declaration | None:
    """Each part by itself; None if one that the others need is wrong."""
    head_keys = {key: value for key, value in attributes.items() if key not in NODE_SECTIONS}
    unknown = [key for key in head_keys if key not in keys_of(Head)]
    for key in unknown:
        known_keys = (*keys_of(Head), *NODE_SECTIONS)
        found.report(
            (key,), f"Unknown key {key!r}.{suggest(key, known_keys)} Keys here: {', '.join(known_keys)}."
        )
        del head_keys[key]
    head = _part(Head, head_keys, (), found)
    source = None
    if "source" in attributes:
        source = _of_kind(attributes["source"], SOURCE_KINDS, ("source",), found)
    else:
        found.report((), "The key 'source' is missing.")
    steps = _section(attributes, "steps", STEP_KINDS, found)
    sinks = _section(attributes, "sinks", SINK_KINDS, found)
    if head is None or source is None or steps is None or sinks is None:
        return None
    return Declaration.model_construct(head=head, source=source, steps=steps, sinks=sinks)


def _section(
    attributes: Mapping[str, JSON], section: str, kinds: Mapping[str, type[_Config]], found: _Findings
) -> dict[str, _Config] | None:
    declared = attributes.get(section) or {}
    if not isinstance(declared, dict):
        found.report((section,), f"Expected names and what they are, found {type(declared).__name__}.")
        return None
    made = {name: _of_kind(value, kinds, (section, name), found) for name, value in declared.items()}
    if any(config is None for config in made.values()):
        return None
    return {name: config for name, config in made.items() if config is not None}


def _of_kind(
    value: JSON, kinds: Mapping[str, type[_Config]], path: DeclarationPath, found: _Findings
) -> _Config | None:
    if not isinstance(value, dict):
        found.report(path, f"Expected keys such as `kind:`, found {type(value).__name__}.")
        return None
    kind = value.get("kind")
    if kind not in kinds:
        said = (
            "The key 'kind' is missing."
            if kind is None
            else f"Unknown kind {kind!r}.{suggest(str(kind), kinds)}"
        )
        found.report((*path, "kind") if kind is not None else path, f"{said} Kinds here: {', '.join(kinds)}.")
        return None
    return _part(kinds[str(kind)], value, path, found)


def _part(
    model: type[_Config], value: Mapping[str, JSON], path: DeclarationPath, found: _Findings
) -> _Config | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for mistake in mistakes_of(error, model):
            found.report((*path, *mistake.path), mistake.what)
        return None
