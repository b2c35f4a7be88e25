"""What each node of a run did, over all its executions: rows, ports, pool, calls, tokens, cost.

An execution that was killed left no numbers of its own: they are counted from what it recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import edges, node_executions, node_states, nodes
from elspeth_dagster.landscape.usage import Usage, usage_of
from elspeth_dagster.model.outcome import OUT_PORT, ExecutionStatus

Role = Literal["source", "step", "sink"]


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """A node's pool. Counts and times are sums over executions, peaks are maxima, the delay is the last."""

    pool_size: int
    capacity_retries: int
    max_concurrent_reached: int
    peak_delay_ms: float
    total_throttle_time_ms: float
    delay_at_completion_ms: float


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """One node. ``status`` is of the latest execution, None if there was none; rates are of the latest that worked.

    A source counts its rows, quarantined ones as failed.
    """

    node_id: str
    kind: str
    role: Role
    inputs: tuple[str, ...]
    status: ExecutionStatus | None
    executions: int
    rows_in: int
    rows_out: int
    rows_failed: int
    rows_reused: int
    by_port: Mapping[str, int]
    seconds: float
    rows_per_second: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    buffer_wait_p95_ms: float | None
    pool: PoolSummary | None
    usage: Usage | None
    error_code: str | None


@dataclass(slots=True)
class _Rows:
    taken: int = 0
    out: int = 0
    failed: int = 0
    by_port: Counter[str] = field(default_factory=Counter)


Execution = sa.Row[*tuple[Any, ...]]


def node_summaries(database: Database, run_id: str) -> tuple[NodeSummary, ...]:
    """Every node of the run, in the pipeline's order."""
    with database.read() as connection:
        known = connection.execute(
            sa.select(nodes.c.node_id, nodes.c.kind)
            .where(nodes.c.run_id == run_id)
            .order_by(nodes.c.sequence)
        ).all()
        links = connection.execute(
            sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(edges.c.run_id == run_id)
        ).all()
        table = node_executions
        found = connection.execute(
            sa.select(table).where(table.c.run_id == run_id).order_by(table.c.node_id, table.c.attempt)
        )
        executions: dict[str, list[Execution]] = {}
        for execution in found:
            executions.setdefault(execution.node_id, []).append(execution)
        return tuple(
            _summary(connection, node_id, kind, links, executions.get(node_id, [])) for node_id, kind in known
        )


def _summary(
    connection: Connection,
    node_id: str,
    kind: str,
    links: Sequence[sa.Row[str, str, str]],
    executions: Sequence[Execution],
) -> NodeSummary:
    inputs = tuple(
        feeder if port == OUT_PORT else f"{feeder}.{port}"
        for feeder, port, taker in links
        if taker == node_id
    )
    feeds_others = any(feeder == node_id for feeder, _, _ in links)
    role: Role = "source" if not inputs else "step" if feeds_others else "sink"
    counted = _rows(connection, role, executions)
    rates = _metrics(next((one for one in reversed(executions) if one.rows_in), None))
    latest = executions[-1] if executions else None
    return NodeSummary(
        node_id=node_id,
        kind=kind,
        role=role,
        inputs=inputs,
        status=None if latest is None else ExecutionStatus(latest.status),
        executions=len(executions),
        rows_in=counted.taken,
        rows_out=counted.out,
        rows_failed=counted.failed,
        rows_reused=sum(one.rows_reused or 0 for one in executions),
        by_port=dict(sorted(counted.by_port.items())),
        seconds=round(sum(_metrics(one).get("seconds") or 0.0 for one in executions), 3),
        rows_per_second=rates.get("rows_per_second"),
        latency_p50_ms=rates.get("latency_p50_ms"),
        latency_p95_ms=rates.get("latency_p95_ms"),
        buffer_wait_p95_ms=rates.get("buffer_wait_p95_ms"),
        pool=_pool(executions),
        usage=usage_of(connection, kind, executions),
        error_code=None
        if latest is None or latest.error_json is None
        else json.loads(latest.error_json)["code"],
    )


def _metrics(execution: Execution | None) -> dict[str, float | None]:
    """The numbers of an execution; none for one that was killed."""
    if execution is None or execution.metrics_json is None:
        return {}
    numbers = json.loads(execution.metrics_json)
    return {name: value for name, value in numbers.items() if isinstance(value, int | float)}


def _rows(connection: Connection, role: Role, executions: Sequence[Execution]) -> _Rows:
    counted = _Rows()
    whole = [one for one in executions if one.metrics_json is not None]
    if role == "source":
        whole = whole[-1:]  # a source reads everything again, and records only what was missing
    elif len(whole) < len(executions):
        return _rows_by_state(connection, executions[0], is_sink=role == "sink")
    for execution in whole:
        counted.taken += execution.rows_in
        counted.out += execution.rows_out
        counted.failed += execution.rows_failed
        counted.by_port.update(json.loads(execution.metrics_json).get("by_port", {}))
    return counted


def _rows_by_state(connection: Connection, of: Execution, *, is_sink: bool) -> _Rows:
    states = node_states
    made = states.c.input_hash.is_(None)  # the state of a token that the node made: it did not arrive
    question = (
        sa.select(states.c.status, states.c.out_port, made, sa.func.count())
        .where(
            states.c.run_id == of.run_id,
            states.c.node_id == of.node_id,
            states.c.status.in_(("completed", "failed")),
        )
        .group_by(states.c.status, states.c.out_port, made)
    )
    counted = _Rows()
    for status, port, is_made, count in connection.execute(question):
        counted.taken += 0 if is_made else count
        if status == "failed":
            counted.failed += count
        elif port is not None or is_sink:
            counted.out += count
        if status == "completed" and port is not None:
            counted.by_port[port] += count
    return counted


def _pool(executions: Sequence[Execution]) -> PoolSummary | None:
    found = [json.loads(one.pool_stats_json) for one in executions if one.pool_stats_json is not None]
    if not found:
        return None
    config, stats = found[-1]["pool_config"], [one["pool_stats"] for one in found]
    return PoolSummary(
        pool_size=config["pool_size"],
        capacity_retries=sum(one["capacity_retries"] for one in stats),
        max_concurrent_reached=max(one["max_concurrent_reached"] for one in stats),
        peak_delay_ms=max(one["peak_delay_ms"] for one in stats),
        total_throttle_time_ms=sum(one["total_throttle_time_ms"] for one in stats),
        delay_at_completion_ms=config["dispatch_delay_at_completion_ms"],
    )
