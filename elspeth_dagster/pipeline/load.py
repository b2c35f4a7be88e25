"""Load a declaration: from a YAML file, or from the attributes of a Dagster component.

Every mistake is collected before any is reported, each with its place, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Home, Mistake
from elspeth_dagster.pipeline.check import checked
from elspeth_dagster.pipeline.execution_mistakes import execution_mistakes
from elspeth_dagster.pipeline.graph import SOURCE, Doubt, Pipeline
from elspeth_dagster.pipeline.mistakes import kind_of
from elspeth_dagster.pipeline.model_pools import pool_mistakes
from elspeth_dagster.pipeline.partitions import partition_mistakes
from elspeth_dagster.pipeline.parts import Parts, read_parts
from elspeth_dagster.pipeline.places import PART_CHARS_MAX, Places, read_yaml
from elspeth_dagster.pipeline.plain import plain
from elspeth_dagster.pipeline.spec import Head
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

COMPONENT_TYPE = "elspeth_dagster.PipelineComponent"
ATTRIBUTES: Final = "attributes"
WHAT_CHARS_MAX: Final = 1_000
"""As much as a mistake says: what was written, and the names that might have been meant, can be of any length."""
_OF_THE_COMPONENT: Final = frozenset({"translation"})
"""Attributes that say how Dagster shows a pipeline, and nothing about it."""

_PROJECT_MARKERS = ("workspace.yaml", "pyproject.toml", "dagster.yaml", ".git")


def load_pipeline(path: str | Path) -> Pipeline:
    """The pipeline that a YAML file declares: a Dagster component's `defs.yaml`, or just its attributes.

    Raises:
        DeclarationError: with every mistake, its place and what was probably meant.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "defs.yaml"
    file = file.absolute()
    document, places, mistakes = read_yaml(file)
    if not isinstance(document, dict):
        raise _refused(
            file, "It is empty." if document is None else f"It holds {kind_of(document)}, not keys."
        )
    attributes: Mapping[str, JSON] = document
    if "type" in document or ATTRIBUTES in document:
        attributes, places, mistakes = _component(document, places, mistakes, file)
    pipeline = pipeline_from(attributes, base=file.parent, places=places, known_mistakes=mistakes)
    component = document.get("type", COMPONENT_TYPE)
    return pipeline if component == COMPONENT_TYPE else _of_a_subclass(pipeline, str(component))


def _of_a_subclass(pipeline: Pipeline, component: str) -> Pipeline:
    """With the doubt that what a project made of the component is not here."""
    what = f"It is a {component}: what that class changes holds where Dagster loads it, not here."
    return replace(pipeline, warnings=(Doubt(SOURCE, what), *pipeline.warnings))


def pipeline_from(
    attributes: Mapping[str, JSON],
    *,
    base: Path,
    root: Path | None = None,
    places: Places | None = None,
    known_mistakes: Sequence[Mistake] = (),
) -> Pipeline:
    """The pipeline that these attributes declare; paths in them are relative to ``base``.

    ``root`` is the project's folder, which paths must stay inside; by default the nearest one above ``base`` that looks
    like one. ``places`` and ``known_mistakes`` are what reading the file gave, as seen from the attributes.

    Raises:
        DeclarationError: with every mistake, its place and what was probably meant.
    """
    found = _Findings(places or Places(None))
    for mistake in known_mistakes:
        found.report_mistake((), mistake)
    home = Home(base=base, root=root or project_root(base))
    # A top-level key without a value is one that is not there.
    spec = {key: value for key, value in plain(attributes, found.report).items() if value is not None}
    parts = read_parts(spec, found.report)
    fit = checked(parts, home=home, report=found.report_mistake)
    if parts.head is not None:
        for mistake in _head_mistakes(parts.head, parts):
            found.report_mistake((), mistake)
    if found.mistakes or fit is None or parts.head is None:
        raise found.error(spec)
    return fit.pipeline(parts.head, home=home, spec=spec, places=found.places)


def _head_mistakes(head: Head, parts: Parts) -> Iterator[Mistake]:
    """What does not fit between the pipeline's own keys and its nodes."""
    yield from partition_mistakes(head, parts)
    yield from pool_mistakes(head, parts)
    yield from execution_mistakes(head)


def within(mistakes: Sequence[Mistake], key: str) -> list[Mistake]:
    """The mistakes as seen from ``key``; those outside of it are seen from the top."""
    return [
        Mistake(one.path[1:], one.what, one.text_line) if one.path[:1] == (key,) else Mistake((), one.what)
        for one in mistakes
    ]


def project_root(base: Path) -> Path:
    """The nearest folder at or above ``base`` that looks like a project's; ``base`` itself if none does."""
    for folder in (base, *base.parents):
        if any((folder / marker).exists() for marker in _PROJECT_MARKERS):
            return folder
    return base


def _component(
    document: Mapping[str, JSON], places: Places, mistakes: list[Mistake], file: Path
) -> tuple[Mapping[str, JSON], Places, list[Mistake]]:
    """What stands under `attributes:` of a component's file."""
    kind, attributes = document.get("type"), document.get(ATTRIBUTES)
    if kind != COMPONENT_TYPE and not _may_be_a_subclass(kind, attributes):
        said = "The key 'type' is missing." if kind is None else f"It declares a component of type {kind!r}."
        near = suggest(str(kind), [COMPONENT_TYPE])
        line = places.line(("type",))
        raise _refused(file, f"{said} The type of a pipeline is {COMPONENT_TYPE}.{near}", line=line)
    if not isinstance(attributes, dict):
        what = f"{ATTRIBUTES}: Expected the pipeline's keys, found {kind_of(attributes)}."
        raise _refused(file, what, line=places.line((ATTRIBUTES,)))
    own = {key: value for key, value in attributes.items() if key not in _OF_THE_COMPONENT}
    return own, places.below(ATTRIBUTES), within(mistakes, ATTRIBUTES)


def _may_be_a_subclass(kind: JSON, attributes: JSON) -> bool:
    """Whether a component of another type says what a pipeline says."""
    is_meant = isinstance(kind, str) and not suggest(kind, [COMPONENT_TYPE])
    return is_meant and isinstance(attributes, dict) and {"name", "source"} <= attributes.keys()


def _refused(file: Path, what: str, *, line: int | None = None) -> DeclarationError:
    place = f"{file.name}:{line}" if line else file.name
    return DeclarationError(
        f"{file.name} is no pipeline: 1 mistake.", mistakes=(f"{place}: {what}",), where=str(file)
    )


@dataclass(slots=True)
class _Findings:
    """The mistakes so far, each with its line."""

    places: Places
    mistakes: dict[str, int] = field(default_factory=dict)

    def report(self, path: DeclarationPath, what: str) -> None:
        self.report_mistake(path, Mistake((), what))

    def report_mistake(self, path: DeclarationPath, mistake: Mistake) -> None:
        whole, text_line = (*path, *mistake.path), mistake.text_line
        line = self.places.line(whole, text_line=text_line) or 0
        what = mistake.what
        if len(what) > WHAT_CHARS_MAX:
            what = f"{what[:WHAT_CHARS_MAX]}…"
        self.mistakes[f"{self.places.shown(whole, text_line=text_line)}: {what}"] = line

    def error(self, attributes: Mapping[str, JSON]) -> DeclarationError:
        name = attributes.get("name")
        called = f"Pipeline {name[:PART_CHARS_MAX]!r}" if isinstance(name, str) else "The pipeline"
        count = f"{len(self.mistakes)} mistake{'s' if len(self.mistakes) != 1 else ''}"
        in_order = sorted(self.mistakes, key=lambda mistake: self.mistakes[mistake])
        file = self.places.file
        where = str(file) if file else None
        return DeclarationError(f"{called} cannot be loaded: {count}.", mistakes=in_order, where=where)
