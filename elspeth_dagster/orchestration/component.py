"""`elspeth_dagster.PipelineComponent`: a pipeline declared in a `defs.yaml`."""

from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.orchestration.build import pipeline_definitions
from elspeth_dagster.pipeline import Pipeline, pipeline_from
from elspeth_dagster.pipeline.load import within
from elspeth_dagster.pipeline.places import Places, read_yaml

# Prompts and expressions hold double braces of their own: they must not pass through Dagster's templating.
_Verbatim = Annotated[dict[str, Any], dg.Resolver.passthrough()]
_VerbatimOptional = Annotated[dict[str, Any] | None, dg.Resolver.passthrough()]


class PipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """An audited pipeline: source, steps and sinks, each an asset; every row's way goes to the Landscape."""

    name: str = Field(
        description="The pipeline's name: its job, its group, the first part of its asset keys."
    )
    description: str | None = Field(default=None, description="Shown on the job's page.")
    models: _Verbatim = Field(
        default_factory=dict, description="Model name: provider, model, key variable, price."
    )
    source: _Verbatim = Field(description="Where rows come from: kind, path, columns.")
    steps: _Verbatim = Field(
        default_factory=dict, description="Step name: kind, from, and the keys of its kind."
    )
    sinks: _Verbatim = Field(description="Sink name: kind, from, path.")
    execution: _VerbatimOptional = Field(default=None, description="How the nodes are run: `executor`.")
    partitions: Annotated[dict[str, Any] | str | None, dg.Resolver.passthrough()] = Field(
        default=None,
        description="`{shards: 16}`, `{daily: {start: 2026-01-01}}`, `{static: [a, b]}` or `dynamic`.",
    )
    watch: str | None = Field(
        default=None,
        description="A pattern such as `inbox/*.csv`: each new file becomes a partition, and is run.",
    )
    schedule: str | None = Field(default=None, description="A cron expression.")
    dagster: _VerbatimOptional = Field(default=None, description="Group, owners, tags, pool, retries.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The pipeline's assets, checks, job and schedule.

        Raises:
            DeclarationError: with every mistake and its line.
        """
        return pipeline_definitions(self.pipeline(Path(context.path)))

    def pipeline(self, base: Path) -> Pipeline:
        """The checked pipeline; paths in it are relative to ``base``."""
        given = self.model_dump(exclude_none=True, exclude_unset=True)
        places, mistakes = _read(base)
        return pipeline_from(given, base=base, places=places, known_mistakes=mistakes)


def _read(base: Path) -> tuple[Places, list[Mistake]]:
    """The lines of the component's own file, so that mistakes can name them, and what only its text shows."""
    try:
        _, places, mistakes = read_yaml(base / "defs.yaml")
    except DeclarationError:  # a component that was made in Python, or several in one file
        return Places(None), []
    return places.below("attributes"), within(mistakes, "attributes")
