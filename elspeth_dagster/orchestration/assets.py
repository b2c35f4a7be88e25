"""A pipeline's nodes as Dagster assets: one op a node, one asset a port, edges as dependencies.

No row passes through Dagster: an op runs its node over what waits for it in the Landscape, and materializes the
result's summary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from elspeth_dagster.model.canonical import canonical_bytes, plain_hash
from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.orchestration.automation import automation_condition, freshness_policy
from elspeth_dagster.orchestration.checks import balance_check, balance_spec, order_check, order_spec
from elspeth_dagster.orchestration.columns import Types, column_schema, column_types
from elspeth_dagster.orchestration.keys import asset_key, asset_keys
from elspeth_dagster.orchestration.launch_config import config_schema, op_name
from elspeth_dagster.orchestration.metadata import materialization_metadata
from elspeth_dagster.orchestration.partitioning import backfill_policy, partitions_def
from elspeth_dagster.orchestration.resources import LANDSCAPE_KEY
from elspeth_dagster.orchestration.step import run_in_step
from elspeth_dagster.pipeline import Node, Pipeline, Port
from elspeth_dagster.pipeline.launched import outside_models
from elspeth_dagster.runtime.node_run import NodeReport

_KIND_TAGS = {
    "csv": ["csv", "file"],
    "jsonl": ["json", "file"],
    "llm": ["llm", "openai"],
    "python": ["python"],
    "map": ["map"],
    "gate": ["gate"],
    "fork": ["fork"],
    "expand": ["expand"],
    "coalesce": ["coalesce", "join"],
    "aggregate": ["aggregate"],
}
CODE_VERSION_CHARS = 12


def pipeline_assets(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """The assets of a pipeline, with their checks."""
    types = column_types(pipeline)
    return [_node_assets(pipeline, node, types[node.node_id]) for node in pipeline.nodes.values()]


def _node_assets(pipeline: Pipeline, node: Node, types: Types) -> dg.AssetsDefinition:
    options = pipeline.head.dagster
    keys = asset_keys(pipeline, node)

    @dg.multi_asset(
        name=op_name(pipeline.name, node.node_id),
        specs=[_spec(pipeline, node, key, types) for key in keys],
        check_specs=[spec for key in keys for spec in _check_specs(node, key)],
        required_resource_keys={LANDSCAPE_KEY, *outside_models(pipeline)},
        config_schema=config_schema(node),
        retry_policy=dg.RetryPolicy(max_retries=options.retries, delay=10) if options.retries else None,
        partitions_def=partitions_def(pipeline),
        backfill_policy=backfill_policy(pipeline),
        pool=None if asking(node.config) is None else options.pool,
        op_tags={"elspeth/pipeline": pipeline.name, "elspeth/node": node.node_id},
    )
    def compute(context: dg.AssetExecutionContext) -> Any:
        keys = context.partition_keys if context.assets_def.partitions_def else [None]
        reports = {key: run_in_step(context, pipeline, node, partition=key) for key in keys}
        yield from _results(context, pipeline, node, reports)

    return compute


def _spec(pipeline: Pipeline, node: Node, key: dg.AssetKey, types: Types) -> dg.AssetSpec:
    options = pipeline.head.dagster
    return dg.AssetSpec(
        key=key,
        deps=list(dict.fromkeys(_upstream_key(pipeline, port) for port in node.inputs)),
        description=node.config.description or _described(node),
        group_name=options.group or pipeline.name,
        kinds=set(_KIND_TAGS.get(node.kind, [node.kind])),
        owners=options.owners,
        tags={**options.tags, "elspeth/pipeline": pipeline.name, "elspeth/role": node.role},
        code_version=code_version(node),
        automation_condition=automation_condition(pipeline),
        freshness_policy=freshness_policy(pipeline, node),
        metadata=column_schema(node, types),
    )


def _upstream_key(pipeline: Pipeline, port: Port) -> dg.AssetKey:
    """What an edge hangs on: the port's asset; failed rows leave by no asset of their own, so the node's first."""
    feeder = pipeline.nodes[port.node_id]
    return asset_key(pipeline, port if port.name in feeder.ports else Port(port.node_id, feeder.ports[0]))


def code_version(node: Node) -> str:
    """Changes when, and only when, the node may decide differently."""
    decision = canonical_bytes({"kind": node.kind, **node.decision})
    return plain_hash(decision).hex()[:CODE_VERSION_CHARS]


def _described(node: Node) -> str:
    what = {"source": "Reads rows", "sink": "Writes rows", "step": "Decides about rows"}[node.role]
    return f"{what}: `{node.kind}`."


# Results -----------------------------------------------------------------------------------------------------------


def _results(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    node: Node,
    reports: Mapping[str | None, NodeReport],
) -> Iterator[dg.MaterializeResult[None]]:
    """A materialization of each port; where a run has several partitions, each of them has its own metadata."""
    ports: Sequence[str | None] = [None] if node.ports in {(OUT_PORT,), ()} else node.ports
    for port, key in zip(ports, asset_keys(pipeline, node), strict=True):
        for partition, report in reports.items():
            metadata = materialization_metadata(report, port=port)
            context.add_asset_metadata(metadata, asset_key=key, partition_key=partition)
        checks = [_check_results(node, key, report) for report in reports.values()]
        yield dg.MaterializeResult(
            asset_key=key, check_results=[_worst(results) for results in zip(*checks, strict=True)]
        )


def _worst(results: Sequence[dg.AssetCheckResult]) -> dg.AssetCheckResult:
    """One result for all partitions of a run: that of the first one that failed."""
    return next((result for result in results if not result.passed), results[-1])


def _check_specs(node: Node, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [balance_spec(key)] if asking(node.config) is None else [balance_spec(key), order_spec(key)]


def _check_results(node: Node, key: dg.AssetKey, report: NodeReport) -> list[dg.AssetCheckResult]:
    balance = balance_check(key, report)
    return [balance] if asking(node.config) is None else [balance, order_check(key, report)]
