"""Shards, and what must fit together where a pipeline's rows are divided into runs of their own.

Each partition is one run in the Landscape. A shard takes every n-th record of the source by the record's own number, so
that shards need to know nothing of each other and a row keeps its number however many shards there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from elspeth_dagster.model.shard import Shard, shard_of_key
from elspeth_dagster.nodes.base import Mistake
from elspeth_dagster.nodes.sink import FileSinkConfig
from elspeth_dagster.nodes.sql_source import SqlSourceConfig
from elspeth_dagster.pipeline.partition_spec import Partitions
from elspeth_dagster.pipeline.parts import Parts
from elspeth_dagster.pipeline.spec import Head
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

PLACEHOLDER: Final = "{partition}"


def shards(partitions: Partitions) -> tuple[Shard, ...]:
    """All shards in order; none where it is not divided so."""
    return tuple(
        Shard(index, partitions.shards) for index in range(partitions.shards or 0) if partitions.shards
    )


def shard_of(partitions: Partitions | None, key: str | None) -> Shard | None:
    """The shard that a partition key names; None where the pipeline has no shards."""
    return None if partitions is None or partitions.shards is None else shard_of_key(key)


def partition_mistakes(head: Head, parts: Parts) -> Iterator[Mistake]:
    """Keys that do not fit together: a watched pattern and the source, partitions and the files of sinks."""
    source_path = parts.source.text("path")
    if head.watch is not None:
        yield from _watch_mistakes(head.partitions, head.watch, source_path)
    if source_path is not None and PLACEHOLDER in source_path and head.division is None:
        yield Mistake(("source", "path"), f"It holds {PLACEHOLDER}, but the pipeline has no `partitions`.")
    source = parts.source.config
    if isinstance(source, SqlSourceConfig) and source.takes_partition() and head.division is None:
        yield Mistake(("source", "query"), f"It holds {PLACEHOLDER}, but the pipeline has no `partitions`.")
    for part in parts.sinks.values():
        path = part.text("path")
        if path is not None and isinstance(part.config, FileSinkConfig):
            yield from _sink_mistakes((*part.path, "path"), path, is_partitioned=head.division is not None)


def _watch_mistakes(partitions: Partitions | None, watch: str, source_path: str | None) -> Iterator[Mistake]:
    if partitions is not None and partitions.dynamic is None:
        yield Mistake(
            ("watch",), "A watched file is a dynamic partition: write `partitions: dynamic`, or leave it out."
        )
    folder, _, name = watch.rpartition("/")
    if name.count("*") != 1 or "*" in folder or set("?[]{}") & set(watch):
        yield Mistake(("watch",), "Watch one pattern with one `*` in the file's name, as in `inbox/*.csv`.")
    elif source_path != (wanted := watch.replace("*", PLACEHOLDER)):
        yield Mistake(("watch",), f"The source must read the watched file: write `path: {wanted}` there.")


def _sink_mistakes(place: DeclarationPath, path: str, *, is_partitioned: bool) -> Iterator[Mistake]:
    """Runs of two partitions must not write one file."""
    if is_partitioned and PLACEHOLDER not in path:
        yield Mistake(
            place, f"With `partitions`, each needs a file of its own: put {PLACEHOLDER} into the path."
        )
    if PLACEHOLDER in path and not is_partitioned:
        yield Mistake(place, f"It holds {PLACEHOLDER}, but the pipeline has no `partitions`.")
