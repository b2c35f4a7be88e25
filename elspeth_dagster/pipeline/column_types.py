"""The types of the columns that leave each node, as far as the declaration tells."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.batch_python import PythonRunConfig
from elspeth_dagster.nodes.batch_stats import STATISTICS, StatsRunConfig
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.expand import ITEM_INDEX, ExpandConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.map import MapConfig
from elspeth_dagster.nodes.source import SourceConfig
from elspeth_dagster.pipeline.graph import Node, Pipeline

UNTOLD = "any"
"""The type of a column that a function or an expression makes."""

Types = Mapping[str, str]


def column_types(pipeline: Pipeline) -> dict[str, Types]:
    """Column name to type, for what leaves each node (for a sink: what reaches it)."""
    found: dict[str, Types] = {}
    for node in pipeline.nodes.values():
        reaching: dict[str, str] = {}
        for port in node.inputs:
            reaching |= found[port.node_id]
        found[node.node_id] = _leaving(pipeline, node, reaching)
    return found


def _leaving(pipeline: Pipeline, node: Node, reaching: Types) -> Types:
    config = node.config
    if isinstance(config, SourceConfig):
        return dict(config.columns)
    if isinstance(config, LlmConfig):
        return {
            **reaching,
            **{field: _answer_type(spec) for field, spec in config.answer_types(pipeline.home).items()},
        }
    if isinstance(config, AggregateConfig):
        return _of_batches(pipeline, config, reaching)
    if isinstance(config, MapConfig):
        renamed = {config.rename.get(name, name): kind for name, kind in reaching.items()}
        return {**renamed, **dict.fromkeys(config.set, UNTOLD)}
    if isinstance(config, ExpandConfig):
        return {**reaching, config.field: UNTOLD, ITEM_INDEX: "int"}
    if isinstance(config, CoalesceConfig) and config.merge == "nested":
        return dict.fromkeys(config.branches(), "json")
    return reaching


def _of_batches(pipeline: Pipeline, config: AggregateConfig, reaching: Types) -> Types:
    """What a batch's run makes; what a function does with a column is its own business."""
    if isinstance(config.run, PythonRunConfig):
        return {}
    if isinstance(config.run, StatsRunConfig):
        counts = {f"{name}_count": "int" for name in config.run.fields}
        return {**reaching, **counts, **dict.fromkeys(_measures(config.run), "float")}
    answers = config.run.answer_types(pipeline.home).items()
    return {**reaching, **{field: _answer_type(spec) for field, spec in answers}}


def _measures(run: StatsRunConfig) -> list[str]:
    return [f"{name}_{one}" for name in run.fields for one in STATISTICS if one != "count"]


def _answer_type(declared: object) -> str:
    """`int`, `{type: int}` or `{enum: [...]}`."""
    if isinstance(declared, str):
        return declared
    if isinstance(declared, dict):
        return str(declared.get("type", "str" if "enum" in declared else UNTOLD))
    return UNTOLD
