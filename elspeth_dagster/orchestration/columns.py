"""The columns of a node's assets, for Dagster's column schemas."""

import dagster as dg

from elspeth_dagster.nodes.sink import SinkConfig
from elspeth_dagster.pipeline import Node
from elspeth_dagster.pipeline.column_types import UNTOLD, Types

__all__ = ["column_schema"]


def column_schema(node: Node, types: Types) -> dict[str, dg.TableSchema]:
    """The column schema of a node's assets, where its columns are known."""
    columns = node.columns_in if node.role == "sink" else node.columns_out
    if isinstance(node.config, SinkConfig) and (declared := node.config.written_types()):
        columns, types = tuple(declared), declared
    if columns is None:
        return {}
    return {
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, type=types.get(name, UNTOLD)) for name in columns]
        )
    }
