"""Which of Dagster's concurrency pools a step is in: its slots are counted over all runs of the instance."""

from __future__ import annotations

from elspeth_dagster.nodes.asking import asking, pool_of
from elspeth_dagster.pipeline.graph import Node
from elspeth_dagster.pipeline.spec import DagsterOptions


def concurrency_pool(node: Node, options: DagsterOptions) -> str | None:
    """That of its model, else the pipeline's; None for a node that calls nobody."""
    if pool_of(node.config) is None:
        return None
    llm = asking(node.config)
    return options.pool if llm is None else options.pools.get(llm.model, options.pool)
