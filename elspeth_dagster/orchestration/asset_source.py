"""An existing Dagster asset as a pipeline's source: its table becomes a file of JSON lines, which the source reads."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import dagster as dg

from elspeth_dagster.errors import NotJSONError, SourceError
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.row import normalised
from elspeth_dagster.nodes.source import AssetSourceConfig
from elspeth_dagster.pipeline import Node, Pipeline
from elspeth_dagster.pipeline.graph import SOURCE

INPUT: Final = "table"
"""The name of the source's input in Dagster."""


def source_inputs(node: Node) -> dict[str, dg.AssetIn]:
    """What Dagster loads for a node: the asset that a source names."""
    if not isinstance(node.config, AssetSourceConfig):
        return {}
    return {INPUT: dg.AssetIn(key=dg.AssetKey(node.config.asset))}


@contextlib.contextmanager
def with_table(
    pipeline: Pipeline, node: Node, inputs: Mapping[str, Any], *, partition: str | None, of_run: int
) -> Iterator[Pipeline]:
    """While inside, the pipeline whose source reads what Dagster loaded; any other node's pipeline is as it is.

    ``partition`` is the one that is worked on, of ``of_run`` in this Dagster run.

    Raises:
        SourceError: it is no table, lacks a column, or holds what no row can.
    """
    config = node.config
    if not isinstance(config, AssetSourceConfig):
        yield pipeline
        return
    with tempfile.TemporaryDirectory(prefix="elspeth-") as folder:
        path = Path(folder) / "table.jsonl"
        tables = _tables(inputs[INPUT], partition, is_divided=of_run > 1 and not _has_shards(pipeline))
        with path.open("wb") as file:
            for table in tables:
                file.writelines(_lines(config, table))
        at_hand = replace(node, config=config.model_copy(update={"path": str(path)}))
        yield replace(pipeline, nodes={**pipeline.nodes, SOURCE: at_hand})


def _has_shards(pipeline: Pipeline) -> bool:
    return pipeline.head.division is not None and pipeline.head.division.shards is not None


def _tables(loaded: Any, partition: str | None, *, is_divided: bool) -> list[Any]:
    """The tables of one partition: of an asset with partitions, Dagster may load several at once, by their keys.

    Its partition of the same key, else all that Dagster says this one is made of.
    """
    if not isinstance(loaded, Mapping):
        return [loaded]
    if partition in loaded:
        return [loaded[partition]]
    if is_divided:
        raise SourceError(
            f"Which partitions of the asset belong to partition {partition!r} is not known: the run has several.",
            where=f"partitions {', '.join(map(str, list(loaded)[:5]))}",
            hint="write `backfill: multi_run` under `partitions:`, one run for each",
        )
    return list(loaded.values())


def _lines(config: AssetSourceConfig, table: Any) -> Iterator[bytes]:
    where = f"asset {'/'.join(config.asset)}"
    if not hasattr(table, "to_dict") or not hasattr(table, "columns"):
        raise SourceError(
            f"The source's asset gave a {type(table).__name__}, not a pandas DataFrame.",
            where=where,
            hint="give the asset an IO manager that loads a DataFrame",
        )
    missing = [
        column.name
        for column in config.parsed_columns
        if not column.optional and column.name not in table.columns
    ]
    if missing:
        raise SourceError(
            f"The table has no column {missing[0]!r}. Columns there: {', '.join(map(str, table.columns))}.",
            where=where,
            hint="mend `columns:`, or the asset",
        )
    whole = {name for name, declared in config.columns.items() if declared.removesuffix("?") == "int"}
    for index, record in enumerate(table.to_dict("records")):
        try:
            row = {name: _value(value, is_whole=name in whole) for name, value in record.items()}
            yield canonical_bytes(dict(normalised(row))) + b"\n"
        except NotJSONError as error:
            raise SourceError(
                f"Row {index} of the table cannot be recorded: {error.what}",
                where=f"{where}, {error.where or 'row'}",
                hint="convert the column in the asset",
            ) from error


def _value(value: object, *, is_whole: bool) -> object:
    """A cell as a row has it. pandas says NaN for a missing number, and makes its integers floats."""
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN is what is not itself
            return None
        if is_whole and value.is_integer():
            return int(value)
    return value
