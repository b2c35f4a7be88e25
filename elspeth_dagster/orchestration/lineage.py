"""Which Landscape run a Dagster run belongs to, and how other Dagster runs ended."""

import os
import platform
from importlib.metadata import version

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.pipeline import Pipeline

FILE_TAG = "elspeth/file"
"""The declaration's file: a resume loads it again."""

CONTINUES_TAGS = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")
"""A run with one of these goes on with its parent's work; any other re-execution is a run of its own."""

_ENDS = {
    DagsterRunStatus.SUCCESS: RunStatus.COMPLETED,
    DagsterRunStatus.FAILURE: RunStatus.FAILED,
    DagsterRunStatus.CANCELED: RunStatus.INTERRUPTED,
}


def landscape_run(instance: DagsterInstance, run: DagsterRun) -> tuple[str, str | None]:
    """The id of the Landscape run, and of the run that it is a re-execution of, if any."""
    while run.parent_run_id is not None and any(run.tags.get(tag) == "true" for tag in CONTINUES_TAGS):
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:  # deleted from Dagster; the Landscape still has it under this id
            return run.root_run_id or run.parent_run_id, None
        run = parent
    return run.run_id, run.parent_run_id


def end_of(instance: DagsterInstance, dagster_run_id: str) -> RunStatus | None:
    """How a Dagster run ended; None while it may be alive, or where this instance does not know it."""
    run = instance.get_run_by_id(dagster_run_id)
    return None if run is None else _ENDS.get(run.status)


def launched_by(run: DagsterRun) -> str | None:
    """Who or what launched a run, as far as Dagster knows."""
    for tag in (
        "dagster/user",
        "user",
        "dagster/schedule_name",
        "dagster/sensor_name",
        "dagster/auto_materialize",
    ):
        if tag in run.tags:
            return f"{tag.removeprefix('dagster/')}: {run.tags[tag]}"
    return None


def run_tags(pipeline: Pipeline, run_id: str, partition: str | None) -> dict[str, str]:
    """What a Dagster run is found by in the runs' list, and what a resume on the command line loads again."""
    tags = {"elspeth/run_id": run_id, "elspeth/pipeline": pipeline.name}
    if pipeline.places.file is not None:
        tags[FILE_TAG] = str(pipeline.places.file)
    return tags if partition is None else {**tags, "elspeth/partition": partition}


def versions() -> dict[str, str | None]:
    """What ran: the versions of this package, Dagster and Python, and the commit where it is known."""
    return {
        "elspeth_dagster": version("elspeth_dagster"),
        "dagster": dg.__version__,
        "python": platform.python_version(),
        "git_commit": _commit(),
    }


def _commit() -> str | None:
    for name in ("GIT_COMMIT", "DAGSTER_CLOUD_GIT_SHA", "GITHUB_SHA"):
        if os.environ.get(name):
            return os.environ[name]
    return None
