"""The executor that a declaration names: Dagster's own, one of the usual integrations, or any by its import path."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import dagster as dg

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.pipeline.spec import Execution

_KNOWN: Final[Mapping[str, str]] = {
    "celery": "elspeth_dagster.orchestration.celery_steps:celery_executor",
    "docker": "dagster_docker:docker_executor",
    "k8s": "dagster_k8s:k8s_job_executor",
}
_PRELOADED: Final = ["elspeth_dagster.orchestration.assets", "elspeth_dagster.orchestration.step"]
"""Imported once by the server that all steps' processes are forked from."""


def executor_of(execution: Execution) -> dg.ExecutorDefinition | None:
    """The executor of a pipeline's job; None for the code location's own.

    Raises:
        LaunchError: what it needs is not installed, or is no executor.
    """
    name, config = execution.executor, dict(execution.config)
    if name == "location":
        return None
    if name == "in_process":
        return dg.in_process_executor
    if name == "multiprocess":
        # A fork server pays for imports once: a step's process starts in a third of the time.
        start = {"start_method": {"forkserver": {"preload_modules": _PRELOADED}}}
        return dg.multiprocess_executor.configured({**start, **config})
    found = _imported(_KNOWN.get(name, name))
    if not isinstance(found, dg.ExecutorDefinition):
        raise _refused(name, "it is no Dagster executor")
    return found.configured(config) if config else found


def _imported(path: str) -> object:
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise _refused(path, f"{error}") from error


def _refused(name: str, why: str) -> LaunchError:
    return LaunchError(
        f"The executor {name!r} cannot be used: {why}.",
        where="execution.executor",
        hint=f"install what it needs, or name in_process, multiprocess, location, {', '.join(_KNOWN)}, or module:name",
    )
