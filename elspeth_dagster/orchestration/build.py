"""A pipeline as Dagster definitions: assets, checks, its job, its schedule."""

from pathlib import Path
from typing import Any

import dagster as dg

from elspeth_dagster.orchestration.assets import ChangeSpec, Execute, as_is, just_run, pipeline_assets
from elspeth_dagster.orchestration.automation import schedule
from elspeth_dagster.orchestration.doubts import tell_doubts, told_already
from elspeth_dagster.orchestration.executors import executor_of
from elspeth_dagster.orchestration.keys import asset_keys
from elspeth_dagster.orchestration.launch_config import op_name
from elspeth_dagster.orchestration.lineage import FILE_TAG
from elspeth_dagster.orchestration.resources import LANDSCAPE_KEY, LandscapeResource
from elspeth_dagster.orchestration.runs_sensor import runs_sensor
from elspeth_dagster.orchestration.watch import watch_sensor
from elspeth_dagster.pipeline import Pipeline, load_pipeline
from elspeth_dagster.pipeline.graph import SOURCE


def pipeline_definitions(
    pipeline: Pipeline, *, asset_spec: ChangeSpec = as_is, execute: Execute = just_run
) -> dg.Definitions:
    """Assets, checks, job, schedule and sensor; the Landscape's resource comes from the code location.

    What the declaration's author hardly meant is a `DeclarationWarning`.
    """
    tell_doubts(pipeline)
    job = pipeline_job(pipeline)
    ticking, watching = schedule(pipeline, job), watch_sensor(pipeline, job)
    return dg.Definitions(
        assets=pipeline_assets(pipeline, asset_spec=asset_spec, execute=execute),
        jobs=[job],
        schedules=[] if ticking is None else [ticking],
        sensors=[] if watching is None else [watching],
    )


def build_definitions(
    pipeline: Pipeline, *others: Pipeline, landscape: LandscapeResource | None = None
) -> dg.Definitions:
    """Everything that a code location of just these pipelines needs.

    Raises:
        LaunchError: the Landscape's URL is written out with a password in it.
    """
    each = [pipeline_definitions(one) for one in (pipeline, *others)]
    return dg.Definitions.merge(*each, shared_definitions(landscape))


def shared_definitions(
    landscape: LandscapeResource | None = None,
    *,
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
) -> dg.Definitions:
    """What the pipelines of a code location share: the Landscape, the executor, and the sensor that tends to runs.

    ``executor`` is what materializes assets that are picked in the UI; None where the location has its own.

    Raises:
        LaunchError: the Landscape's URL is written out with a password in it.
    """
    landscape = landscape or LandscapeResource()
    landscape.refuse_password()
    return dg.Definitions(
        resources={LANDSCAPE_KEY: landscape},
        executor=executor,
        sensors=[runs_sensor],
    )


def pipeline_job(pipeline: Pipeline) -> Any:
    """The job that materializes the whole pipeline."""
    keys = [key for node in pipeline.nodes.values() for key in asset_keys(pipeline, node)]
    return dg.define_asset_job(
        name=pipeline.name,
        selection=dg.AssetSelection.assets(*keys),
        description=pipeline.head.description,
        executor_def=executor_of(pipeline.head.execution),
        tags=_tags(pipeline),
    )


def _tags(pipeline: Pipeline) -> dict[str, str]:
    """What finds the declaration again when a run is to be resumed."""
    file = pipeline.places.file
    return {"elspeth/pipeline": pipeline.name} | ({} if file is None else {FILE_TAG: str(file)})


def run_config(pipeline: Pipeline, *, limit: int | None) -> dict[str, object]:
    """The run configuration of a launch."""
    if limit is None:
        return {}
    return {"ops": {op_name(pipeline.name, SOURCE): {"config": {"limit": limit}}}}


def job_of_file(path: str, landscape_url: str | None) -> dg.JobDefinition:
    """The job of a declaration's file; called again in each process of a multiprocess run.

    Dagster stores these arguments with the run: a URL with a password comes by ``ELSPETH_LANDSCAPE_URL`` instead.
    """
    pipeline = load_pipeline(Path(path))
    with told_already():
        definitions = build_definitions(pipeline, landscape=LandscapeResource(url=landscape_url))
    return definitions.resolve_job_def(pipeline.name)
