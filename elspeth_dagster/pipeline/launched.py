"""A pipeline as one launch changed it: models that come from elsewhere, another model or pool for a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.asking import asking, asking_with
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.pipeline.graph import Node, Pipeline, decision_of
from elspeth_dagster.pooling import PoolConfig


@dataclass(frozen=True, slots=True)
class Change:
    """What a launch says about one llm step; what it does not mention stays as declared."""

    model: str | None = None
    pool: Mapping[str, JSON] = field(default_factory=dict)


def outside_models(pipeline: Pipeline) -> frozenset[str]:
    """The models that the steps name and the declaration does not: they come with the launch."""
    named = {llm.model for node in pipeline.nodes.values() if (llm := asking(node.config)) is not None}
    return frozenset(named - pipeline.head.models.keys())


def as_launched(
    pipeline: Pipeline, *, models: Mapping[str, ModelSettings], changes: Mapping[str, Change]
) -> Pipeline:
    """The pipeline with ``models`` beside its own, and with ``changes`` by node; its decisions are those it takes now.

    Raises:
        LaunchError: a model is not known, or a pool's settings cannot be.
    """
    if not models and not changes:
        return pipeline
    head = pipeline.head.model_copy(update={"models": {**models, **pipeline.head.models}})
    changed = replace(pipeline, head=head)
    nodes = {
        name: node if llm is None else _changed(node, llm, changed, changes.get(name, Change()))
        for name, node in pipeline.nodes.items()
        for llm in (asking(node.config),)
    }
    return replace(changed, nodes=nodes)


def _changed(node: Node, llm: LlmConfig, pipeline: Pipeline, change: Change) -> Node:
    model = change.model or llm.model
    if model not in pipeline.head.models:
        known = tuple(pipeline.head.models)
        raise LaunchError(
            f"There is no model {model!r}.{suggest(model, known)} Models: {', '.join(known) or 'none'}.",
            where=f"step {node.node_id!r}",
            hint="declare it under `models:`, or give the code location a ModelResource of that name",
        )
    try:
        pool = PoolConfig.model_validate({**llm.pool.model_dump(), **change.pool})
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}".lstrip(": ")
        raise LaunchError(
            f"The pool cannot be as it was launched: {what}.",
            where=f"step {node.node_id!r}",
            hint="mend the launch",
        ) from error
    config = asking_with(node.config, llm.model_copy(update={"model": model, "pool": pool}))
    return replace(node, config=config, decision=decision_of(config, pipeline.head.models, pipeline.home))
