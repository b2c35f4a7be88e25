"""Run one node of a pipeline: register, take the fence, work, close, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from elspeth_dagster.errors import (
    LaunchError,
    MissingSecretError,
    ModelUnusableError,
)
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import begin_execution
from elspeth_dagster.landscape.feeders import refuse_missing_feeders
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.registration import (
    EndOf,
    RunRegistration,
    close_attempt,
    register,
)
from elspeth_dagster.landscape.seals import Seal
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.database import unset_variables
from elspeth_dagster.pipeline.graph import Node, Pipeline
from elspeth_dagster.runtime.beside import beside
from elspeth_dagster.runtime.handover import adopt, hand_on
from elspeth_dagster.runtime.interpreter import set_up_for_rows
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.kind_run import run_kind
from elspeth_dagster.runtime.node_end import end_badly, end_well, unusable
from elspeth_dagster.runtime.node_report import NodeReport, balance_of, report_of
from elspeth_dagster.runtime.scope import Scope, scope_of
from elspeth_dagster.runtime.work import Model, Work


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run, and which attempt at it, this process works for."""

    run_id: str
    dagster_run_id: str
    partition_key: str | None
    parent_run_id: str | None
    launched_by: str | None
    versions: Mapping[str, JSON]
    host: str
    pid: int
    selected: frozenset[str] | None = None
    """The nodes that this run works on; None for all of them."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What a process has one of: the Landscape, its writer, the clock, and what ends the run from outside.

    ``on_seal`` is called when an execution was sealed, however it ended; ``redactor`` knows the secrets that no record
    of foreign text may hold.
    """

    database: Database
    writer: LandscapeWriter
    clock: Clock
    stop: Stop
    model_of: Callable[[str], Model]
    end_of: EndOf
    on_begin: Callable[[ExecutionHandle], None] = lambda _: None
    """Given the execution once it has begun: its counts tell how far it is."""
    on_seal: Callable[[Seal], object] = lambda _seal: None
    redactor: Redactor = field(default_factory=Redactor)


def run_node(
    pipeline: Pipeline, node_id: str, *, run: RunIdentity, engine: Engine, limit: int | None = None
) -> NodeReport:
    """Run ``node_id`` over every token that waits for it. ``limit`` is the most records that a source reads.

    Raises:
        LaunchError: nothing was begun (a changed declaration, a live rival, a missing key).
        NodeStoppedError: the node stopped; what it decided is recorded, the rest waits for a resume.
        LandscapeError: the audit database cannot be written; nothing was sent that was not recorded.
    """
    node = pipeline.nodes[node_id]
    if (llm := asking(node.config)) is not None:
        engine.model_of(llm.model)  # a missing key is told before anything is begun
    _refuse_unset_variables(node)
    scope = scope_of(
        engine.database, pipeline, run_id=run.run_id, partition_key=run.partition_key, selected=run.selected
    )
    feeders = [port.node_id for port in node.inputs if port.node_id in scope.selected]
    refuse_missing_feeders(
        engine.database,
        run_id=run.run_id,
        node_id=node_id,
        feeders=feeders,
        is_join=node.kind == "coalesce",
    )
    registration = _registration(pipeline, run, scope)
    key = register(engine.database, registration, clock=engine.clock, end_of=engine.end_of)
    handle = _begin(registration, node_id, key=key, engine=engine)
    work = Work(
        pipeline=pipeline,
        node=node,
        database=engine.database,
        writer=engine.writer,
        handle=handle,
        clock=engine.clock,
        stop=engine.stop,
        scope=scope,
        model_of=engine.model_of,
        limit=limit,
        redactor=engine.redactor,
    )
    engine.writer.watch(handle)
    engine.on_begin(handle)
    try:
        with set_up_for_rows():
            return _run(work, engine.on_seal)
    finally:
        engine.writer.watch(None)


def _refuse_unset_variables(node: Node) -> None:
    if unset := unset_variables(node.config):
        raise MissingSecretError(
            f"The environment variable {unset[0]} is not set.",
            where=f"{node.role} {node.node_id!r}",
            hint=f"put the database's URL into {unset[0]}",
        )


def _begin(run: RunRegistration, node_id: str, *, key: str, engine: Engine) -> ExecutionHandle:
    """Take the node; an attempt that is refused is over before it began."""
    try:
        return begin_execution(
            engine.database, run, key=key, node_id=node_id, clock=engine.clock, end_of=engine.end_of
        )
    except LaunchError as error:
        close_attempt(
            engine.database,
            run_id=run.run_id,
            dagster_run_id=run.dagster_run_id,
            status=RunStatus.FAILED,
            reason=error.code,
            counts=None,
            clock=engine.clock,
        )
        raise


def _run(work: Work, on_seal: Callable[[Seal], object]) -> NodeReport:
    began_s = work.clock.monotonic()
    try:
        adopt(work)
        artifact = run_kind(work)
        hand_on(work)
    except BaseException as error:
        end_badly(work, error, work.clock.monotonic() - began_s, on_seal=on_seal)
        if isinstance(error, ModelUnusableError):
            raise unusable(work, error) from error
        raise
    seconds = work.clock.monotonic() - began_s
    balance = beside(lambda: balance_of(work))  # the database counts while the seal is computed here
    seal = end_well(work, seconds)
    on_seal(seal)
    return report_of(work, seal, artifact, balance=balance.result(), seconds=seconds)


def _registration(pipeline: Pipeline, run: RunIdentity, scope: Scope) -> RunRegistration:
    return RunRegistration(
        run_id=run.run_id,
        dagster_run_id=run.dagster_run_id,
        pipeline=pipeline.name,
        partition_key=run.partition_key,
        parent_run_id=run.parent_run_id,
        launched_by=run.launched_by,
        spec=pipeline.spec,
        operational=pipeline.operational(),
        versions=run.versions,
        host=run.host,
        pid=run.pid,
        nodes=scope.nodes(pipeline),
        edges=scope.edges(pipeline),
    )
