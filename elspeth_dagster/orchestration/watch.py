"""`watch:`: a sensor that takes each new file once, as a dynamic partition of its own.

The partition's key is what the pattern's `*` stood for, and the set of partitions is the memory: a file that has one
was taken, also after a restart.
"""

import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import dagster as dg

from elspeth_dagster.files.paths import PART_CHARS_MAX
from elspeth_dagster.pipeline import Pipeline

SETTLED_S: Final = 5.0
"""A file that changed within this time may still be written, and is left for a later tick."""

FILES_PER_TICK_MAX: Final = 50
"""So many runs are launched at once; the rest follow tick by tick, by name."""

MINIMUM_INTERVAL_S: Final = 30


def watch_sensor(pipeline: Pipeline, job: object) -> dg.SensorDefinition | None:
    """The sensor of a pipeline that watches a folder; on from the start."""
    pattern = pipeline.head.watch
    if pattern is None:
        return None

    @dg.sensor(
        name=f"{pipeline.name}_watch",
        job=job,  # type: ignore[arg-type] # an asset job that is not resolved yet
        minimum_interval_seconds=MINIMUM_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Runs the pipeline for each new file of {pattern}.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        taken = frozenset(context.instance.get_dynamic_partitions(pipeline.name))
        keys, unusable = _new_keys(pipeline.home.base, pattern, taken)
        if unusable:
            context.log.warning("Not taken, their names cannot be keys: %s", ", ".join(unusable[:10]))
        if not keys:
            return dg.SkipReason(f"No new file of {pattern}; {len(taken)} were taken before.")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=f"{pipeline.name}/{key}", partition_key=key) for key in keys],
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(partitions_def_name=pipeline.name, partition_keys=keys)
            ],
        )

    return watch


def _new_keys(base: Path, pattern: str, taken: frozenset[str]) -> tuple[list[str], list[str]]:
    """The keys of files that have settled and were not taken, by name; and the names that cannot be keys."""
    before, after = pattern.rpartition("/")[2].split("*")
    settled_before_s = time.time() - SETTLED_S
    keys: list[str] = []
    unusable: list[str] = []
    for file in sorted(base.glob(pattern)):
        key = file.name[len(before) : len(file.name) - len(after)]
        if key in taken or not _has_settled(file, settled_before_s):
            continue
        if not _can_be_a_key(key):
            unusable.append(repr(file.name))
        elif len(keys) < FILES_PER_TICK_MAX:
            keys.append(key)
    return keys, unusable


def _has_settled(file: Path, before_s: float) -> bool:
    try:
        return file.is_file() and file.stat().st_mtime <= before_s
    except OSError:  # taken away since the folder was listed, or behind a link that leads nowhere
        return False


def _can_be_a_key(key: str) -> bool:
    """Whether Dagster can store it, and sinks can have it in the names of their files.

    A file's name that is no UTF-8 comes with lone surrogates, which no database takes.
    """
    if not key or key.startswith(".") or set("\n\r\t\0|\\") & set(key):
        return False
    return key.isprintable() and len(quote(key, safe="", errors="surrogatepass")) <= PART_CHARS_MAX
