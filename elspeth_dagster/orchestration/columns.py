"""The columns of a node's assets, for Dagster's column schemas."""

from collections.abc import Sequence

import dagster as dg

from elspeth_dagster.nodes.sink import ERROR_FIELD, SinkConfig
from elspeth_dagster.pipeline import Node
from elspeth_dagster.pipeline.column_types import UNTOLD, Types

__all__ = ["column_schema"]


def column_schema(node: Node, types: Types) -> dict[str, dg.TableSchema]:
    """The column schema of a node's assets, where its columns are known."""
    columns = _written(node) if node.role == "sink" else node.columns_out
    if isinstance(node.config, SinkConfig) and (declared := node.config.written_types()):
        columns, types = tuple(declared), declared
    if columns is None:
        return {}
    types = {ERROR_FIELD: "json", **types}
    return {
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, type=types.get(name, UNTOLD)) for name in columns]
        )
    }


def _written(node: Node) -> Sequence[str] | None:
    """The columns of a sink's file: as it declares them, else all that reach it, with what went wrong with a row."""
    chosen: Sequence[str] | None = getattr(node.config, "columns", None)
    if chosen is not None or node.columns_in is None:
        return chosen
    return (*node.columns_in, ERROR_FIELD) if node.takes_errors else node.columns_in
