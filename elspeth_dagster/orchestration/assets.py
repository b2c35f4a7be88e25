"""A pipeline's nodes as Dagster assets: one op a node, one asset a port, edges as dependencies.

No row passes through Dagster: an op runs its node over what waits for it in the Landscape, and materializes the
result's summary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.orchestration.asset_source import source_inputs, with_table
from elspeth_dagster.orchestration.checks import check_results, check_specs
from elspeth_dagster.orchestration.concurrency import concurrency_pool
from elspeth_dagster.orchestration.keys import asset_keys
from elspeth_dagster.orchestration.launch_config import config_schema, op_name
from elspeth_dagster.orchestration.metadata import data_version, materialization_metadata
from elspeth_dagster.orchestration.partitioning import backfill_policy, partitions_def
from elspeth_dagster.orchestration.resources import LANDSCAPE_KEY
from elspeth_dagster.orchestration.specs import spec_of
from elspeth_dagster.orchestration.story import story
from elspeth_dagster.pipeline import Node, Pipeline
from elspeth_dagster.pipeline.column_types import column_types
from elspeth_dagster.pipeline.launched import outside_models

if TYPE_CHECKING:
    from elspeth_dagster.runtime.node_report import NodeReport

NodeRun = Callable[[], Iterator[Any]]
"""Runs a node, and yields what it has to say to Dagster."""

Execute = Callable[[dg.AssetExecutionContext, Node, NodeRun], Iterator[Any]]
ChangeSpec = Callable[[Node, dg.AssetSpec], dg.AssetSpec]


def as_is(_node: Node, spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec that the pipeline has by itself."""
    return spec


def just_run(_context: dg.AssetExecutionContext, _node: Node, run: NodeRun) -> Iterator[Any]:
    """The node's run, and nothing around it."""
    return run()


def pipeline_assets(
    pipeline: Pipeline, *, asset_spec: ChangeSpec = as_is, execute: Execute = just_run
) -> list[dg.AssetsDefinition]:
    """The assets of a pipeline, with their checks. ``asset_spec`` may change each spec, ``execute`` surround a run."""
    types = column_types(pipeline)
    made = []
    for node in pipeline.nodes.values():
        of_node = [spec_of(pipeline, node, key, types[node.node_id]) for key in asset_keys(pipeline, node)]
        made.append(_node_assets(pipeline, node, [asset_spec(node, spec) for spec in of_node], execute))
    return made


def _node_assets(
    pipeline: Pipeline, node: Node, specs: list[dg.AssetSpec], execute: Execute
) -> dg.AssetsDefinition:
    options = pipeline.head.dagster
    keys = asset_keys(pipeline, node)

    @dg.multi_asset(
        name=op_name(pipeline.name, node.node_id),
        specs=specs,
        ins=source_inputs(node),
        check_specs=check_specs(node, keys, options.checks),
        required_resource_keys={LANDSCAPE_KEY, *outside_models(pipeline)},
        config_schema=config_schema(node),
        retry_policy=dg.RetryPolicy(max_retries=options.retries, delay=10) if options.retries else None,
        partitions_def=partitions_def(pipeline),
        backfill_policy=backfill_policy(pipeline),
        pool=concurrency_pool(node, options),
        op_tags={"elspeth/pipeline": pipeline.name, "elspeth/node": node.node_id},
    )
    def compute(context: dg.AssetExecutionContext, **inputs: Any) -> Any:
        yield from execute(context, node, lambda: _run(context, pipeline, node, inputs))

    return compute


def _run(
    context: dg.AssetExecutionContext, pipeline: Pipeline, node: Node, inputs: Mapping[str, Any]
) -> Iterator[Any]:
    # What a run needs and a definition does not: the database's toolkit, the pools.
    from elspeth_dagster.orchestration.step import run_in_step  # noqa: PLC0415

    keys = context.partition_keys if context.assets_def.partitions_def else [None]
    reports = {}
    for key in keys:
        with with_table(pipeline, node, inputs, partition=key, of_run=len(keys)) as at_hand:
            reports[key] = run_in_step(context, at_hand, node, partition=key)
    yield from _results(context, pipeline, node, reports)


# Results -----------------------------------------------------------------------------------------------------------


def _results(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    node: Node,
    reports: "Mapping[str | None, NodeReport]",
) -> Iterator[dg.MaterializeResult[None]]:
    """A materialization of each port; where a run has several partitions, each of them has its own metadata."""
    ports: Sequence[str | None] = [None] if node.ports in {(OUT_PORT,), ()} else node.ports
    keys, options = asset_keys(pipeline, node), pipeline.head.dagster.checks
    for port, key in zip(ports, keys, strict=True):
        for partition, report in reports.items():
            metadata = materialization_metadata(report, port=port, story=story(pipeline, node, report))
            context.add_asset_metadata(metadata, asset_key=key, partition_key=partition)
        checks = [check_results(node, keys, key, report, options) for report in reports.values()]
        only = next(iter(reports.values())) if len(reports) == 1 else None
        yield dg.MaterializeResult(
            asset_key=key,
            check_results=[_worst(results) for results in zip(*checks, strict=True)],
            data_version=None if only is None else data_version(node, only),
        )


def _worst(results: Sequence[dg.AssetCheckResult]) -> dg.AssetCheckResult:
    """One result for all partitions of a run: that of the first one that failed."""
    return next((result for result in results if not result.passed), results[-1])
