"""`elspeth_dagster.PipelineComponent`: a pipeline declared in a `defs.yaml`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import dagster as dg
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import Field

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.orchestration.assets import NodeRun
from elspeth_dagster.orchestration.build import pipeline_definitions
from elspeth_dagster.orchestration.scaffolding import PipelineScaffolder
from elspeth_dagster.orchestration.specs import quiet_about_beta
from elspeth_dagster.pipeline import Node, Pipeline, pipeline_from
from elspeth_dagster.pipeline.json_schema import (
    model_schema,
    models_schema,
    sinks_schema,
    source_schema,
    steps_schema,
)
from elspeth_dagster.pipeline.load import within
from elspeth_dagster.pipeline.places import Places, read_yaml
from elspeth_dagster.pipeline.spec import DagsterOptions, Execution


def _shaped(make: Callable[[], Mapping[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """Adds a part's own schema when somebody asks for the component's: nobody pays for it before."""

    def shape(schema: dict[str, Any]) -> None:
        for key, value in make().items():
            if key not in {"type", "title"}:
                schema.setdefault(key, value)

    return shape


def _told(description: str, *examples: Any) -> Any:
    """Description and examples of a field with a default: there, Dagster takes them from the resolver."""
    return dg.Resolver.default(description=description, examples=list(examples))


def _verbatim(description: str, *examples: Any) -> Any:
    """The same for prompts and expressions: their double braces must not pass through Dagster's templating."""
    return dg.Resolver.passthrough(description=description, examples=list(examples))


_FILES: Final = ("defs.yaml", "defs.yml", "component.yaml")
"""What Dagster looks for, in its order."""


@dg.scaffold_with(PipelineScaffolder)
class PipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """An audited pipeline: source, steps and sinks, each an asset; every row's way goes to the Landscape.

    Subclass it to change an asset's spec (``get_asset_spec``) or what surrounds a node's run (``execute``).
    """

    name: str = Field(
        description="The pipeline's name: its job, its group, the first part of its asset keys.",
        examples=["complaints"],
    )
    description: Annotated[
        str | None, _told("Shown on the job's page.", "Messages to a bank, judged and routed.")
    ] = None
    models: Annotated[
        dict[str, Any],
        _verbatim(
            "Model name: provider, model, key variable, price. A model that a step names and that is not here is the "
            "Dagster resource (`ModelResource`) of that name.",
            {"default": {"provider": "openai", "model": "gpt-4o-mini", "api_key_env": "OPENAI_API_KEY"}},
        ),
    ] = Field(default_factory=dict, json_schema_extra=_shaped(models_schema))
    source: Annotated[dict[str, Any], dg.Resolver.passthrough()] = Field(
        description="Where rows come from: kind, path, columns.",
        examples=[{"kind": "csv", "path": "data/messages.csv", "columns": {"id": "int", "text": "str"}}],
        json_schema_extra=_shaped(source_schema),
    )
    steps: Annotated[
        dict[str, Any],
        _verbatim(
            "Step name: kind, from, and the keys of its kind.",
            {
                "judged": {
                    "kind": "llm",
                    "from": "source",
                    "prompt": "How urgent is this? {{ row.text }}",
                    "answer": {"urgency": "int"},
                }
            },
        ),
    ] = Field(default_factory=dict, json_schema_extra=_shaped(steps_schema))
    sinks: Annotated[dict[str, Any], dg.Resolver.passthrough()] = Field(
        description="Sink name: kind, from, path.",
        examples=[{"out": {"kind": "csv", "from": "judged", "path": "out/judged.csv"}}],
        json_schema_extra=_shaped(sinks_schema),
    )
    execution: Annotated[
        dict[str, Any] | None,
        _verbatim("How the nodes are run: `executor`.", {"executor": "multiprocess"}),
    ] = Field(default=None, json_schema_extra=_shaped(lambda: model_schema(Execution)))
    partitions: Annotated[
        dict[str, Any] | str | None,
        _verbatim(
            "`{shards: 16}`, `{daily: {start: 2026-01-01}}`, `{static: [a, b]}` or `dynamic`.",
            {"shards": 16},
            {"static": ["north", "south"]},
            "dynamic",
        ),
    ] = None
    watch: Annotated[
        str | None,
        _told("A pattern: each new file becomes a partition, and is run.", "inbox/*.csv"),
    ] = None
    schedule: Annotated[str | None, _told("A cron expression.", "0 6 * * *")] = None
    dagster: Annotated[
        dict[str, Any] | None,
        _verbatim(
            "Group, owners, tags, pool, retries, automation, checks.",
            {"owners": ["team:support"], "pool": "openai", "checks": {"blocking": ["balance"]}},
        ),
    ] = Field(default=None, json_schema_extra=_shaped(lambda: model_schema(DagsterOptions)))
    translation: (
        Annotated[
            TranslationFn[Node],
            TranslationFnResolver[Node](template_vars_for_translation_fn=lambda node: {"node": node}),
        ]
        | None
    ) = None
    """Attributes of every asset; ``node`` is the node: ``node.node_id``, ``node.kind``, ``node.role``."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The pipeline's assets, checks, job and schedule.

        Raises:
            DeclarationError: with every mistake and its line.
        """
        pipeline = self.pipeline(Path(context.path), document=_document(context))
        return pipeline_definitions(pipeline, asset_spec=self._checked_spec, execute=self.execute)

    def get_asset_spec(self, node: Node, spec: dg.AssetSpec) -> dg.AssetSpec:
        """The asset of ``node``, or of one of its ports, as Dagster gets it; by default as ``translation:`` says."""
        return spec if self.translation is None else self.translation(spec, node)

    def execute(self, context: dg.AssetExecutionContext, node: Node, run: NodeRun) -> Iterator[Any]:
        """Run ``node``: yield what ``run()`` yields, with whatever is to happen around it."""
        _ = context, node
        yield from run()

    def pipeline(self, base: Path, *, document: int | None = None) -> Pipeline:
        """The checked pipeline, with paths relative to ``base``. ``document`` is its number in a file of several."""
        given = self.model_dump(exclude_none=True, exclude_unset=True, exclude={"translation"})
        places, mistakes = _read(base, document)
        return pipeline_from(given, base=base, places=places, known_mistakes=mistakes)

    def _checked_spec(self, node: Node, spec: dg.AssetSpec) -> dg.AssetSpec:
        with quiet_about_beta():
            made = self.get_asset_spec(node, spec)
        if made.key != spec.key or {dep.asset_key for dep in made.deps} < {
            dep.asset_key for dep in spec.deps
        }:
            what = f"{node.node_id}: its asset must stay {spec.key.to_user_string()!r}, and depend on what feeds it."
            raise DeclarationError(
                "A translation may not move assets: the first part of their keys is the pipeline's `name`.",
                mistakes=(what,),
            )
        return made


def _document(context: dg.ComponentLoadContext) -> int | None:
    """Which document of its file the component is, where Dagster says so."""
    place = getattr(context, "component_path", None)
    key = getattr(place, "instance_key", None)
    return key if isinstance(key, int) else None


def _read(base: Path, document: int | None) -> tuple[Places, list[Mistake]]:
    """The lines of the component's own file, so that mistakes can name them, and what only its text shows."""
    file = next((base / name for name in _FILES if (base / name).is_file()), None)
    if file is None:  # a component that was made in Python
        return Places(None), []
    try:
        _, places, mistakes = read_yaml(file, document=document)
    except DeclarationError:
        return Places(None), []
    return places.below("attributes"), within(mistakes, "attributes")
