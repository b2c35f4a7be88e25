"""A run at a glance: its attempts, its nodes, where its rows went, what failed, what it wrote and what to look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.batch_reads import TriggerSummary, trigger_summaries
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.failures import FailureGroup, failure_groups
from elspeth_dagster.landscape.joins import JoinSummary, join_summaries
from elspeth_dagster.landscape.node_summary import NodeSummary, node_summaries
from elspeth_dagster.landscape.runs import AttemptRecord, RunRecord, attempts_of
from elspeth_dagster.landscape.schema import artifacts, calls, node_executions, rows, token_outcomes, tokens
from elspeth_dagster.landscape.status import LATE_ARRIVAL, run_status
from elspeth_dagster.model.outcome import Outcome, RunStatus

UNKNOWN_CALLS_MAX: Final = 20  # at most a pool's size each time a process dies; more are counted, not listed


@dataclass(frozen=True, slots=True)
class Ending:
    """How many tokens ended in one way; ``is_late``: at a join that was decided, as its policy has it."""

    outcome: Outcome
    sink: str | None
    count: int
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a sink wrote, latest first of its kind: ``content_hash`` is the file's sha256 in hexadecimal."""

    artifact_id: str
    node_id: str
    uri: str
    content_hash: str
    size_bytes: int
    row_count: int
    created_at: str


@dataclass(frozen=True, slots=True)
class UnknownCall:
    """A request that may have been answered, and paid for, without anybody having kept the answer."""

    call_id: str
    sent_at: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Everything that one page says about a run. ``waiting`` are tokens without a terminal outcome.

    ``cost_usd`` is that of all answers that had a price; None where none had.
    """

    run: RunRecord
    status: RunStatus
    seconds: float | None
    attempts: tuple[AttemptRecord, ...]
    nodes: tuple[NodeSummary, ...]
    rows_read: int
    tokens: int
    waiting: int
    endings: tuple[Ending, ...]
    failures: tuple[FailureGroup, ...]
    artifacts: tuple[Artifact, ...]
    unknown_calls: tuple[UnknownCall, ...]
    row_to_explain: int | None
    joins: tuple[JoinSummary, ...]
    batches: tuple[TriggerSummary, ...]
    cost_usd: float | None


def run_summary(database: Database, run: RunRecord, *, now: dt.datetime) -> RunSummary:
    """The summary of ``run`` as the Landscape has it at the moment ``now``."""
    attempts = attempts_of(database, run.run_id)
    failures = failure_groups(database, run.run_id)
    with database.read() as connection:
        endings = _endings(connection, run.run_id)
        token_count = _count(connection, tokens, run.run_id)
        nodes = node_summaries(database, run.run_id)
        return RunSummary(
            run=run,
            status=run_status(database, run.run_id, now=now),
            seconds=_seconds(connection, run.run_id, attempts),
            attempts=attempts,
            nodes=nodes,
            rows_read=_count(connection, rows, run.run_id),
            tokens=token_count,
            waiting=token_count - sum(ending.count for ending in endings if ending.outcome.is_terminal),
            endings=endings,
            failures=failures,
            artifacts=latest_artifacts(connection, run.run_id),
            unknown_calls=_unknown_calls(connection, run.run_id, len(attempts)),
            row_to_explain=_row_to_explain(connection, run.run_id, failures, endings),
            joins=join_summaries(connection, run.run_id),
            batches=trigger_summaries(connection, run.run_id),
            cost_usd=_cost_usd(nodes),
        )


def _cost_usd(nodes: Sequence[NodeSummary]) -> float | None:
    priced = [
        node.usage.cost_usd for node in nodes if node.usage is not None and node.usage.cost_usd is not None
    ]
    return sum(priced) if priced else None


def _count(connection: Connection, table: sa.Table, run_id: str) -> int:
    question = sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
    return int(connection.execute(question).scalar_one())


def _endings(connection: Connection, run_id: str) -> tuple[Ending, ...]:
    table = token_outcomes
    is_late = sa.case((table.c.error_code == LATE_ARRIVAL, 1), else_=0).label("is_late")
    question = (
        sa.select(table.c.outcome, table.c.sink, sa.func.count(), is_late)
        .where(table.c.run_id == run_id)
        .group_by(table.c.outcome, table.c.sink, sa.literal_column("is_late"))
    )
    found = [
        Ending(Outcome(outcome), sink, count, is_late=bool(late))
        for outcome, sink, count, late in connection.execute(question)
    ]
    return tuple(sorted(found, key=lambda ending: (ending.sink is None, -ending.count, ending.outcome)))


def latest_artifacts(connection: Connection, run_id: str) -> tuple[Artifact, ...]:
    """The last artifact of each sink, in the order in which they were made."""
    question = sa.select(artifacts).where(artifacts.c.run_id == run_id).order_by(artifacts.c.created_at)
    latest = {
        found.node_id: Artifact(
            found.artifact_id,
            found.node_id,
            found.uri,
            found.content_hash.hex(),
            found.size_bytes,
            found.row_count,
            found.created_at,
        )
        for found in connection.execute(question)
    }
    return tuple(latest.values())


def _seconds(connection: Connection, run_id: str, attempts: Sequence[AttemptRecord]) -> float | None:
    """The time that attempts took, up to the end of their last node; None while there is none."""
    table = node_executions
    total = 0.0
    for attempt in attempts:
        question = sa.select(sa.func.max(table.c.completed_at)).where(
            table.c.run_id == run_id, table.c.dagster_run_id == attempt.dagster_run_id
        )
        ended = attempt.ended_at or connection.execute(question).scalar()
        if ended is not None:
            total += max(0.0, (_moment(ended) - _moment(attempt.started_at)).total_seconds())
    return round(total, 3) if total else None


def _moment(stamp: str) -> dt.datetime:
    return dt.datetime.fromisoformat(stamp)


def _unknown_calls(connection: Connection, run_id: str, attempts: int) -> tuple[UnknownCall, ...]:
    executions = sa.select(node_executions.c.execution_id).where(node_executions.c.run_id == run_id)
    if attempts < 2:  # noqa: PLR2004 - calls are lost when a process dies, and its attempt with it, or when a node stops
        executions = executions.where(node_executions.c.status != "completed")
    question = (
        sa.select(calls.c.call_id, calls.c.sent_at)
        .where(calls.c.execution_id.in_(executions), calls.c.status == "unknown")
        .order_by(calls.c.call_id)
        .limit(UNKNOWN_CALLS_MAX)
    )
    return tuple(UnknownCall(call_id, sent_at) for call_id, sent_at in connection.execute(question))


def _row_to_explain(
    connection: Connection, run_id: str, failures: Sequence[FailureGroup], endings: Sequence[Ending]
) -> int | None:
    """A row whose story is worth reading: one that failed, else one of the rarest way to end."""
    for group in failures:
        if (
            not (group.is_quarantine or group.is_late)
            and group.examples
            and group.examples[0].row_index is not None
        ):
            return group.examples[0].row_index
    if not endings:
        return None
    rarest = min(endings, key=lambda ending: ending.count)
    question = (
        sa.select(rows.c.row_index)
        .select_from(
            token_outcomes.join(tokens, tokens.c.token_id == token_outcomes.c.token_id).join(
                rows, rows.c.row_id == tokens.c.row_id
            )
        )
        .where(
            token_outcomes.c.run_id == run_id,
            token_outcomes.c.outcome == rarest.outcome.value,
            token_outcomes.c.sink == rarest.sink
            if rarest.sink is not None
            else token_outcomes.c.sink.is_(None),
        )
        .limit(1)
    )
    found = connection.execute(question).scalar()
    return None if found is None else int(found)
