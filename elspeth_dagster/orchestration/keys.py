"""The names under which Dagster knows a pipeline's nodes and ports."""

import dagster as dg

from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.pipeline import Node, Pipeline, Port


def asset_key(pipeline: Pipeline, port: Port) -> dg.AssetKey:
    """The asset of a port: ``[pipeline, node]``, with the port behind it where the node has several."""
    node = pipeline.nodes[port.node_id]
    if port.name in node.ports and node.ports != (OUT_PORT,):
        return dg.AssetKey([pipeline.name, node.node_id, port.name])
    return dg.AssetKey([pipeline.name, node.node_id])


def asset_keys(pipeline: Pipeline, node: Node) -> list[dg.AssetKey]:
    """Every asset of a node, in the order of its ports."""
    return [asset_key(pipeline, Port(node.node_id, port)) for port in node.ports or (OUT_PORT,)]


def upstream_key(pipeline: Pipeline, port: Port) -> dg.AssetKey:
    """What an edge hangs on: the port's asset; failed rows leave by no asset of their own, so the node's first."""
    feeder = pipeline.nodes[port.node_id]
    return asset_key(pipeline, port if port.name in feeder.ports else Port(port.node_id, feeder.ports[0]))
