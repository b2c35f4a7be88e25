"""When Dagster materializes a pipeline by itself, and when its sinks count as stale."""

import datetime as dt

import dagster as dg

from elspeth_dagster.orchestration.partitioning import partitions_def
from elspeth_dagster.pipeline import Pipeline
from elspeth_dagster.pipeline.graph import Node


def automation_condition(pipeline: Pipeline) -> dg.AutomationCondition | None:  # type: ignore[type-arg]
    """The condition of every asset of the pipeline; None where it is launched only by hand, schedule or sensor."""
    chosen = pipeline.head.dagster.automation
    if chosen is None:
        return None
    if chosen == "eager":
        return dg.AutomationCondition.eager()
    if chosen == "on_missing":
        return dg.AutomationCondition.on_missing()
    return dg.AutomationCondition.on_cron(chosen)


def freshness_policy(pipeline: Pipeline, node: Node) -> dg.FreshnessPolicy | None:
    """After how long a sink is stale; the nodes before it are not judged, since they end in it."""
    hours = pipeline.head.dagster.freshness
    if hours is None or node.role != "sink":
        return None
    return dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=hours))


def schedule(pipeline: Pipeline, job: object) -> dg.ScheduleDefinition | None:
    """The declared schedule; of a daily pipeline it runs the latest whole day."""
    cron = pipeline.head.schedule
    if cron is None:
        return None
    if pipeline.head.division is None:
        return dg.ScheduleDefinition(
            name=f"{pipeline.name}_schedule",
            job=job,  # type: ignore[arg-type] # an asset job that is not resolved yet
            cron_schedule=cron,
        )
    return _partitioned_schedule(pipeline, job, cron)


def _partitioned_schedule(pipeline: Pipeline, job: object, cron: str) -> dg.ScheduleDefinition:
    partitions = partitions_def(pipeline)
    assert partitions is not None  # noqa: S101 - the caller looked

    @dg.schedule(
        name=f"{pipeline.name}_schedule",
        job=job,  # type: ignore[arg-type]
        cron_schedule=cron,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        keys = partitions.get_partition_keys(
            current_time=context.scheduled_execution_time, dynamic_partitions_store=context.instance
        )
        wanted = keys[-1:] if pipeline.head.division and pipeline.head.division.daily else keys
        if not wanted:
            return dg.SkipReason("There is no partition yet.")
        moment = context.scheduled_execution_time.isoformat()
        return [dg.RunRequest(run_key=f"{moment}/{key}", partition_key=key) for key in wanted]

    return tick
