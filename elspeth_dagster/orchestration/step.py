"""Run a node inside a Dagster step: who asks, for which run, with which models; and what a failure is to Dagster."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial

import dagster as dg
from dagster import DagsterRunStatus

from elspeth_dagster.errors import ElspethError, LandscapeUnavailableError, LaunchError, NodeStoppedError
from elspeth_dagster.landscape.seals import Seal
from elspeth_dagster.llm import resolve_key
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON
from elspeth_dagster.orchestration.following import FOLLOW_S, Following, is_unsignalled
from elspeth_dagster.orchestration.interruption import TICK_S, interruptible
from elspeth_dagster.orchestration.keys import asset_keys
from elspeth_dagster.orchestration.launch_config import changes_of, limit_of
from elspeth_dagster.orchestration.lineage import end_of, landscape_run, launched_by, run_tags, versions
from elspeth_dagster.orchestration.liveness import driving_pid
from elspeth_dagster.orchestration.metadata import seal_metadata
from elspeth_dagster.orchestration.progress_log import ProgressLog
from elspeth_dagster.orchestration.resources import LANDSCAPE_KEY, LandscapeResource, ModelResource
from elspeth_dagster.orchestration.secrecy import is_told, redactor_for
from elspeth_dagster.pipeline import Node, Pipeline
from elspeth_dagster.pipeline.launched import as_launched, outside_models
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.node_report import NodeReport
from elspeth_dagster.runtime.node_run import Engine, RunIdentity, run_node
from elspeth_dagster.runtime.work import Model

_STOPPING = "Stopping: no call starts any more; answers in flight are recorded, the rest of the rows waits."


def run_in_step(
    context: dg.AssetExecutionContext, pipeline: Pipeline, node: Node, *, partition: str | None
) -> NodeReport:
    """Run ``node`` for the run that this step belongs to, or for one partition of it.

    Raises:
        dagster.Failure: the node failed for a known reason.
    """
    stop = Stop()
    progress = ProgressLog(partial(_log, context), SystemClock())
    seals: list[Seal] = []
    identity = _identity(context, pipeline, partition)
    redactor = _redactor(context, pipeline)
    tick, tick_s = _ticking(context, progress, stop)
    try:
        return interruptible(
            lambda: _run(
                context,
                pipeline,
                node,
                identity,
                stop=stop,
                progress=progress,
                on_seal=seals.append,
                redactor=redactor,
            ),
            stop=stop,
            tick=tick,
            tick_s=tick_s,
            stopping=partial(_cancel, context),
            # A terminal's Ctrl-C reaches every process of the run, and the one that drives it hands it on as well.
            repeats=1 if multiprocessing.parent_process() is not None else 0,
        )
    except ElspethError as error:
        failure = _failure(error, seal_metadata(identity.run_id, seals), redactor)
        if not is_told(error, redactor):
            raise failure from error
    except BaseException as error:
        # Whatever else it is, Dagster shows it as it is: the seal is told beside it.
        if seals:
            metadata = seal_metadata(identity.run_id, seals)
            context.log_event(dg.AssetObservation(asset_keys(pipeline, node)[0], metadata=metadata))
        if not is_told(error, redactor):
            raise
        failure = dg.Failure(f"{type(error).__name__}: {redactor.text(str(error))}", allow_retries=False)
    # Raised out here, it drags along nothing of the error that tells a secret: Dagster stores causes as well.
    raise failure


def _ticking(
    context: dg.AssetExecutionContext, progress: ProgressLog, stop: Stop
) -> tuple[Callable[[], None], float]:
    """What the waiting thread does, and how often."""
    if not is_unsignalled(context.job_def.executor_def.name):
        return progress.tick, TICK_S
    following = Following(context.instance, context.run.run_id, stop)

    def tick() -> None:
        progress.tick()
        following.tick()

    return tick, FOLLOW_S


def _redactor(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Redactor:
    landscape: LandscapeResource = getattr(context.resources, LANDSCAPE_KEY)
    named = [getattr(context.resources, name) for name in outside_models(pipeline)]
    models = [resource for resource in named if isinstance(resource, ModelResource)]
    return redactor_for(
        pipeline,
        landscape_url=landscape.resolved_url(),
        environ=os.environ,
        keys=[key for model in models for key in model.secrets(os.environ)],
    )


def _run(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    node: Node,
    identity: RunIdentity,
    *,
    stop: Stop,
    progress: ProgressLog,
    on_seal: Callable[[Seal], object],
    redactor: Redactor,
) -> NodeReport:
    landscape: LandscapeResource = getattr(context.resources, LANDSCAPE_KEY)
    resources = {name: _model_resource(context, name) for name in sorted(outside_models(pipeline))}
    pipeline = as_launched(
        pipeline,
        models={name: resource.settings() for name, resource in resources.items()},
        changes=changes_of(pipeline, context.run.run_config),
    )
    _tag(context, run_tags(pipeline, identity.run_id, identity.partition_key))
    with landscape.session() as (database, writer):
        engine = Engine(
            database=database,
            writer=writer,
            clock=SystemClock(),
            stop=stop,
            model_of=partial(_model, pipeline, resources),
            end_of=partial(end_of, context.instance),
            on_begin=progress.begin,
            on_seal=on_seal,
            redactor=redactor,
        )
        return run_node(
            pipeline,
            node.node_id,
            run=identity,
            engine=engine,
            limit=limit_of(pipeline, context.run.run_config),
        )


def _model_resource(context: dg.AssetExecutionContext, name: str) -> ModelResource:
    resource = getattr(context.resources, name)
    if not isinstance(resource, ModelResource):
        raise LaunchError(
            f"The resource {name!r} is a {type(resource).__name__}, not a ModelResource.",
            where="the code location",
            hint="give the model another name, or declare it under `models:`",
        )
    return resource


def _log(context: dg.AssetExecutionContext, text: str, fields: Mapping[str, JSON]) -> None:
    context.log.info(text, extra={"elspeth": dict(fields)})


def _tag(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> None:
    missing = {name: value for name, value in tags.items() if context.run.tags.get(name) != value}
    if missing:
        context.instance.add_run_tags(context.run.run_id, missing)


def _cancel(context: dg.AssetExecutionContext) -> None:
    """Whoever interrupted the step, in the UI or by a signal, wanted the run to end: Dagster calls that cancelled."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status is DagsterRunStatus.STARTED:
        context.instance.report_run_canceling(run, message=_STOPPING)


def _failure(error: ElspethError, seal: Mapping[str, str], redactor: Redactor) -> dg.Failure:
    """A step that failed for a known reason; only a database that was away is worth trying again by itself."""
    code = error.reason if isinstance(error, NodeStoppedError) else error.code
    return dg.Failure(
        description=redactor.text(str(error)),
        metadata={"elspeth/code": code, **seal},
        allow_retries=isinstance(error, LandscapeUnavailableError),
    )


def _model(pipeline: Pipeline, resources: Mapping[str, ModelResource], name: str) -> Model:
    settings = pipeline.head.models[name]
    key = resources[name].key() if name in resources else resolve_key(settings, os.environ)
    return Model(settings, key)


def _identity(context: dg.AssetExecutionContext, pipeline: Pipeline, partition: str | None) -> RunIdentity:
    run_id, parent_run_id = landscape_run(context.instance, context.run)
    return RunIdentity(
        run_id=f"{run_id}/{partition}" if partition else run_id,
        dagster_run_id=context.run.run_id,
        partition_key=partition,
        parent_run_id=parent_run_id,
        launched_by=launched_by(context.run),
        versions=versions(),
        host=socket.gethostname(),
        pid=driving_pid(context.job_def.executor_def.name),
        selected=_selected(context, pipeline),
    )


def _selected(context: dg.AssetExecutionContext, pipeline: Pipeline) -> frozenset[str]:
    """The nodes that this run materializes. What Dagster skips of them, since it is done, belongs to the run too."""
    running = set(context.job_def.asset_layer.executable_asset_keys)
    return frozenset(
        node.node_id for node in pipeline.nodes.values() if running & set(asset_keys(pipeline, node))
    )
