"""Run one node of a pipeline: register, take the fence, work, close, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from elspeth_dagster.errors import (
    AlreadyRunningError,
    ElspethError,
    FenceLostError,
    LandscapeError,
    MissingSecretError,
    ModelUnusableError,
    NodeStoppedError,
)
from elspeth_dagster.files import Artifact
from elspeth_dagster.landscape.balance import NodeBalance, node_balance, source_balance
from elspeth_dagster.landscape.batch_reads import TriggerSummary, trigger_summaries
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import begin_execution, ended_execution
from elspeth_dagster.landscape.feeders import refuse_missing_feeders
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.ordering import LostRow, lost_rows
from elspeth_dagster.landscape.registration import (
    EndOf,
    RunRegistration,
    close_attempt,
    register,
)
from elspeth_dagster.landscape.seals import Seal, end_sealed
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.database import unset_variables
from elspeth_dagster.pipeline.graph import Node, Pipeline
from elspeth_dagster.runtime.garbage import old_objects_left_alone
from elspeth_dagster.runtime.handover import adopt, hand_on
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.kind_run import run_kind
from elspeth_dagster.runtime.proofs import Proofs, prove
from elspeth_dagster.runtime.scope import Scope, scope_of
from elspeth_dagster.runtime.tally import Tally
from elspeth_dagster.runtime.work import Model, ReadFrom, Work


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


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one execution of a node did, for whoever shows it."""

    handle: ExecutionHandle
    tally: Tally
    seconds: float
    pool_stats: Mapping[str, JSON] | None
    balance: NodeBalance
    lost: tuple[LostRow, ...]
    artifact: Artifact | None
    read_from: ReadFrom | None
    seal: Seal
    proofs: Proofs
    batches: tuple[TriggerSummary, ...] = ()


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
        with old_objects_left_alone():
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
    except AlreadyRunningError as error:
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
        _end_badly(work, error, work.clock.monotonic() - began_s, on_seal=on_seal)
        if isinstance(error, ModelUnusableError):
            raise _unusable(work, error) from error
        raise
    seconds = work.clock.monotonic() - began_s
    seal = _end(work, ExecutionStatus.COMPLETED, seconds, None)
    on_seal(seal)
    balance = _balance(work)
    return NodeReport(
        handle=work.handle,
        tally=work.tally,
        seconds=seconds,
        pool_stats=work.pool_stats,
        balance=balance,
        lost=_lost(work),
        artifact=artifact,
        read_from=work.read_from,
        batches=_batches(work),
        seal=seal,
        proofs=prove(work, seal, artifact, arrived=balance.arrived),
    )


def _end(
    work: Work,
    status: ExecutionStatus,
    seconds: float,
    error: Mapping[str, JSON] | None,
) -> Seal:
    tally, now = work.tally, work.now()
    end = ended_execution(
        work.handle,
        status,
        rows_in=tally.rows_in,
        rows_out=tally.rows_out,
        rows_failed=tally.rows_failed,
        rows_reused=tally.rows_reused,
        pool_stats=work.pool_stats,
        usage=tally.usage(),
        metrics=tally.metrics(seconds=seconds),
        error=error,
        now=now,
    )
    work.handle.progress_told_s = float("-inf")  # the last word on progress goes with the last record
    return end_sealed(work.database, work.writer, work.handle, end=end, now=now)


def _end_badly(
    work: Work, error: BaseException, seconds: float, *, on_seal: Callable[[Seal], object]
) -> None:
    """Record why the execution ended, unless the Landscape itself is why."""
    if isinstance(error, FenceLostError) or work.handle.failure is not None:
        return  # whoever took over, or comes next, closes what is open
    interrupted = not isinstance(error, Exception) or getattr(error, "reason", None) == "interrupted"
    status = ExecutionStatus.INTERRUPTED if interrupted else ExecutionStatus.FAILED
    evidence: dict[str, JSON] = {"code": _code(error), "error_type": type(error).__name__}
    try:
        on_seal(_end(work, status, seconds, evidence))
    except LandscapeError as second:
        error.add_note(f"The execution's end could not be recorded: {second}")


def _code(error: BaseException) -> str:
    if isinstance(error, NodeStoppedError):
        return error.reason
    if isinstance(error, ElspethError):
        return error.code
    return "interrupted" if not isinstance(error, Exception) else "unexpected"


def _unusable(work: Work, error: ModelUnusableError) -> NodeStoppedError:
    """A model that cannot be used stops the node, with the provider's reason."""
    return NodeStoppedError(
        f"The model cannot be used: {error.what}",
        code=f"model_unusable_{error.status_code}" if error.status_code else "model_unusable",
        where=f"step {work.node.node_id!r}",
        hint=f"{error.hint or 'mend the key, the name or the address of the model'}; then resume: no row was lost",
    )


def _balance(work: Work) -> NodeBalance:
    run_id, node_id = work.handle.run_id, work.node.node_id
    if work.node.role == "source":
        return source_balance(work.database, run_id=run_id, node_id=node_id)
    return node_balance(work.database, run_id=run_id, node_id=node_id, feeds=work.feeds())


def _lost(work: Work) -> tuple[LostRow, ...]:
    """The rows that the pool's own order shows to be missing; none where there is no pool."""
    if work.pool_stats is None:
        return ()
    handle = work.handle
    return tuple(
        lost_rows(
            work.database,
            run_id=handle.run_id,
            node_id=handle.node_id,
            execution_id=handle.execution_id,
            feeds=work.feeds(),
        )
    )


def _batches(work: Work) -> tuple[TriggerSummary, ...]:
    """Of all executions of the node together: a resumed one fires the rest."""
    if not isinstance(work.node.config, AggregateConfig):
        return ()
    with work.database.read() as connection:
        summaries = trigger_summaries(connection, work.handle.run_id)
    return tuple(one for one in summaries if one.node_id == work.node.node_id)


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
