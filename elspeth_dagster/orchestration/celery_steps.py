"""Dagster's Celery executor, whose steps learn that their run is to end.

No signal reaches a step in a Celery worker: Dagster revokes what has not begun, and waits for the rest. So the run says
in Dagster's storage that it is ending, and each step looks there (see `following`). It also says which process drives
it, since that is none of those that its steps run in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.execution.retries import RetryMode
from dagster_celery.executor import CELERY_CONFIG, CeleryExecutor

from elspeth_dagster.orchestration.liveness import PROCESS_TAG, own_process

_INTERRUPTED: Final = "steps_interrupted"
"""What the event of an interrupted executor holds."""


class _TellingExecutor(CeleryExecutor):
    """Names its process, and marks the run as ending as soon as it was interrupted."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        plan_context.instance.add_run_tags(plan_context.dagster_run.run_id, {PROCESS_TAG: own_process()})
        execute: Any = super().execute
        for event in execute(plan_context, execution_plan):
            if event.is_engine_event and _INTERRUPTED in event.engine_event_data.metadata:
                _tell(plan_context.instance, plan_context.dagster_run)
            yield event


def _tell(instance: DagsterInstance, run: DagsterRun) -> None:
    known = instance.get_run_by_id(run.run_id)
    if known is not None and known.status is DagsterRunStatus.STARTED:
        instance.report_run_canceling(known)


def _create(context: dg.InitExecutorContext) -> dg.Executor:
    settings: Any = context.executor_config
    create: Any = _TellingExecutor
    executor: dg.Executor = create(
        retries=RetryMode.from_config(settings["retries"]),
        **{name: settings.get(name) for name in ("broker", "backend", "include", "config_source")},
    )
    return executor


celery_executor: Final = dg.ExecutorDefinition(
    name="celery",
    config_schema=CELERY_CONFIG,
    requirements=dg.multiple_process_executor_requirements(),
    executor_creation_fn=_create,
    description="Dagster's `celery_executor`, with its settings.",
)
