"""Launch a pipeline's job through Dagster in this process, and go on with one that did not finish.

A run that goes on is re-executed from failure, so that it stays one run in the Landscape.
"""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterRun, DagsterRunStatus, RunsFilter

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape.url import url_secrets
from elspeth_dagster.model.clock import new_id
from elspeth_dagster.orchestration.build import run_config
from elspeth_dagster.orchestration.launched import Ended, Launched, StepFailure
from elspeth_dagster.orchestration.lineage import FILE_TAG
from elspeth_dagster.orchestration.liveness import PROCESS_TAG, own_process
from elspeth_dagster.orchestration.resources import LANDSCAPE_VARIABLE
from elspeth_dagster.pipeline import Pipeline

LAUNCH_TAG: Final = "elspeth/launch"
"""One launch, so that its Dagster run is found even if the launch itself was broken off."""

_PARTITION_TAG: Final = "dagster/partition"
_PARTITION_TAGS: Final = (_PARTITION_TAG, "dagster/asset_partition_range")
_RESUME_TAG: Final = "dagster/is_resume_retry"
_QUIET: Final = {"console": {"config": {"log_level": "CRITICAL"}}}
_INTERRUPTS: Final = frozenset({"INTERRUPT", "UNEXPECTED_TERMINATION"})
"""What Dagster calls the source of an interrupted step's error, and the reason of an interrupted run's."""


_QUIET_SETTINGS: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
"""Nothing is sent anywhere, and the UI asks for no e-mail address."""


def _opened(home: Path) -> dg.DagsterInstance:
    """The instance, its databases made, by one process at a time: two at once trip over each other's tables."""
    with (home / ".making_storages").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
        instance.get_runs_count()
        instance.get_asset_keys(limit=1)
    return instance


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of ``home``, which is made if it is not there; processes started from here use it too.

    Raises:
        LaunchError: the folder cannot be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        settings = home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(_QUIET_SETTINGS, encoding="utf-8")
    except OSError as error:
        raise LaunchError(
            f"Dagster's home cannot be made: {error.strerror}.",
            where=str(home),
            hint="set DAGSTER_HOME to a folder that can be written",
        ) from error
    with _variable("DAGSTER_HOME", str(home)), _opened(home) as instance:
        yield instance


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while: processes that are started meanwhile have it too."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def launch(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    *,
    file: Path,
    landscape_url: str,
    limit: int | None,
    partition: str | None = None,
) -> Launched:
    """Materialize the pipeline, or a partition of it, here and now; returns when it has ended, however it ended."""
    tags = _own_tags(file) | ({} if partition is None else {_PARTITION_TAG: partition})
    with _job(file, landscape_url) as job:
        return _until_ended(
            instance,
            pipeline,
            tags[LAUNCH_TAG],
            lambda: dg.execute_job(
                job,
                instance=instance,
                run_config={**run_config(pipeline, limit=limit), "loggers": _QUIET},
                tags=tags,
                raise_on_error=False,
            ),
        )


def resume(
    instance: dg.DagsterInstance, pipeline: Pipeline, *, of: DagsterRun, file: Path, landscape_url: str
) -> Launched:
    """Re-execute ``of`` from failure: its unfinished nodes, as a further attempt at the same Landscape run."""
    divided = {name: value for name, value in of.tags.items() if name.startswith(_PARTITION_TAGS)}
    tags = {**_own_tags(file), **divided, _RESUME_TAG: "true"}
    with _job(file, landscape_url) as job:
        return _until_ended(
            instance,
            pipeline,
            tags[LAUNCH_TAG],
            lambda: dg.execute_job(
                job,
                instance=instance,
                run_config={**of.run_config, "loggers": _QUIET},
                tags=tags,
                reexecution_options=dg.ReexecutionOptions.from_failure(of.run_id, instance),
                raise_on_error=False,
            ),
        )


@contextmanager
def _job(file: Path, landscape_url: str) -> Iterator[Any]:
    """The job; while inside, its processes find a URL that must not be stored in their environment."""
    is_secret = bool(url_secrets(landscape_url))
    url = None if is_secret else landscape_url
    with _variable(LANDSCAPE_VARIABLE, landscape_url) if is_secret else nullcontext():
        yield dg.build_reconstructable_job(
            "elspeth_dagster.orchestration.build",
            "job_of_file",
            reconstructable_kwargs={"path": str(file), "landscape_url": url},
        )


def _own_tags(file: Path) -> dict[str, str]:
    tags = {FILE_TAG: str(file), LAUNCH_TAG: new_id(), PROCESS_TAG: own_process()}
    try:
        tags["user"] = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return tags
    return tags


def _until_ended(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    launch_id: str,
    execute: Callable[[], dg.JobExecutionResult],
) -> Launched:
    try:
        result = execute()
    except BaseException as error:
        is_interrupt = not isinstance(error, Exception)
        run = _abandoned(instance, launch_id, is_interrupt=is_interrupt)
        if run is None or not is_interrupt:
            raise
        return Launched(run.run_id, Ended.INTERRUPTED, ())
    failures = tuple(_step_failure(pipeline, event) for event in result.all_events if event.is_step_failure)
    ended = _ended(result)
    if ended is Ended.INTERRUPTED:
        _cancel(instance, result.run_id)
    return Launched(result.run_id, ended, failures)


def _cancel(instance: dg.DagsterInstance, run_id: str) -> None:
    """Have an interrupted run be a cancelled one.

    Where a second interrupt came before the first was told of, Dagster takes the end of the run for a failure.
    """
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is not DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, message="Interrupted more than once: the run is cancelled.")


def _abandoned(instance: dg.DagsterInstance, launch_id: str, *, is_interrupt: bool) -> DagsterRun | None:
    """The run of a launch that was broken off outside of its steps: nobody else would report its end."""
    for run in instance.get_runs(filters=RunsFilter(tags={LAUNCH_TAG: launch_id}), limit=1):
        if not run.is_finished and is_interrupt:
            instance.report_run_canceled(run, message="The launch was interrupted.")
        elif not run.is_finished:
            instance.report_run_failed(run, message="The launch was broken off.")
        return run
    return None


def _ended(result: dg.JobExecutionResult) -> Ended:
    if result.success:
        return Ended.SUCCESS
    return Ended.INTERRUPTED if any(_is_interrupt(event) for event in result.all_events) else Ended.FAILURE


def _is_interrupt(event: DagsterEvent) -> bool:
    if event.event_type is DagsterEventType.RUN_CANCELED:
        return True
    if event.event_type is DagsterEventType.RUN_FAILURE:
        return getattr(event.job_failure_data.failure_reason, "value", None) in _INTERRUPTS
    return event.is_step_failure and event.step_failure_data.error_source.value in _INTERRUPTS


def _step_failure(pipeline: Pipeline, event: DagsterEvent) -> StepFailure:
    node_id = (event.step_key or "").removeprefix(f"{pipeline.name}__")
    data = event.step_failure_data
    said = data.user_failure_data
    trace = data.error_display_string
    if said is not None:
        return StepFailure(node_id, _code(said.metadata), said.description or "", is_known=True, trace=trace)
    error = data.error
    cause = None if error is None else error.cause or error
    if cause is None:
        return StepFailure(node_id, None, "The step failed without an error.", is_known=False, trace=trace)
    message = cause.message.strip()
    if message.startswith("elspeth_dagster.errors."):
        return StepFailure(node_id, None, message.partition(": ")[2], is_known=True, trace=trace)
    return StepFailure(node_id, None, message, is_known=False, trace=trace)


def _code(metadata: Mapping[str, Any]) -> str | None:
    code = getattr(metadata.get("elspeth/code"), "value", None)
    return code if isinstance(code, str) else None
