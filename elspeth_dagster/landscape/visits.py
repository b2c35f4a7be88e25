"""One visit of a token to a node as a story: row before and after, calls, the route that it took, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.bodies import body_of, change_between, failure_of, in_order
from elspeth_dagster.landscape.call_story import calls_of_state
from elspeth_dagster.landscape.schema import edges, nodes, routing_events
from elspeth_dagster.landscape.story import Body, Routing, Tested, Visit
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.row import JSON, Row

ValuesRead = Callable[[str, Row], Row | None]
"""Tells which fields of a row an expression reads, with their values. The Landscape itself knows no expressions."""


def nothing_read(_expression: str, _row: Row) -> Row | None:
    """For who has no expressions at hand: nothing is known about what one read."""
    return None


Found = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Graph:
    """The run's nodes and edges, and how to ask what an expression read."""

    kinds: dict[str, str]
    configs: dict[str, dict[str, JSON]]
    columns: dict[str, tuple[str, ...]]
    takers: dict[tuple[str, str], tuple[str, ...]]
    values_read: ValuesRead


def graph_of(connection: Connection, run_id: str, values_read: ValuesRead) -> Graph:
    """The graph of a run."""
    known = connection.execute(
        sa.select(nodes.c.node_id, nodes.c.kind, nodes.c.config_json, nodes.c.output_columns_json)
        .where(nodes.c.run_id == run_id)
        .order_by(nodes.c.sequence)
    ).all()
    takers: dict[tuple[str, str], tuple[str, ...]] = {}
    for feeder, port, taker in connection.execute(
        sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(edges.c.run_id == run_id)
    ):
        takers[feeder, port] = (*takers.get((feeder, port), ()), taker)
    return Graph(
        kinds={node_id: kind for node_id, kind, _, _ in known},
        configs={node_id: json.loads(config) for node_id, _, config, _ in known},
        columns={node_id: tuple(json.loads(columns or "[]")) for node_id, _, _, columns in known},
        takers=takers,
        values_read=values_read,
    )


def visit_of(connection: Connection, graph: Graph, state: Found, salt_id: str) -> Visit:
    """What happened to a token at a node."""
    columns = graph.columns[state.node_id]
    before = (
        None
        if state.input_hash is None
        else in_order(body_of(connection, salt_id, state.input_hash), columns)
    )
    after = (
        None
        if state.output_hash is None
        else in_order(body_of(connection, salt_id, state.output_hash), columns)
    )
    return Visit(
        state_id=state.state_id,
        node_id=state.node_id,
        kind=graph.kinds[state.node_id],
        attempt=state.attempt,
        status=StateStatus(state.status),
        port=state.out_port,
        took=graph.takers.get((state.node_id, state.out_port), ()),
        input=before,
        output=after,
        change=change_between(before, after),
        calls=calls_of_state(connection, state.state_id, salt_id),
        routing=_routing(connection, graph, state, before),
        context=json.loads(state.context_after_json or "{}"),
        error=failure_of(connection, salt_id, state.error_json),
        duration_ms=state.duration_ms,
        started_at=state.started_at,
        completed_at=state.completed_at,
        execution_id=state.execution_id,
        record_hash=None if state.record_hash is None else state.record_hash.hex(),
    )


def _routing(connection: Connection, graph: Graph, state: Found, row: Body | None) -> Routing | None:
    event = connection.execute(
        sa.select(routing_events).where(routing_events.c.state_id == state.state_id)
    ).first()
    if event is None:
        return None
    candidates = _routes(graph.configs[state.node_id].get("routes"))
    if event.expression is not None:
        # Those before it were tried first, and were not true; those behind it were not looked at.
        ports = list(candidates)
        tried = ports[: ports.index(event.port)] if event.port in candidates else []
        candidates = {**{port: candidates[port] for port in tried}, event.port: event.expression}
    values = row.value if row is not None and isinstance(row.value, dict) else None
    tested = tuple(
        Tested(port, expression, None if values is None else graph.values_read(expression, values))
        for port, expression in candidates.items()
    )
    return Routing(event.port, event.expression, tested)


def _routes(declared: JSON) -> dict[str, str]:
    """A gate's routes, whether written as a mapping or as pairs."""
    if isinstance(declared, dict):
        return {port: str(expression) for port, expression in declared.items()}
    if isinstance(declared, list):
        return {str(pair[0]): str(pair[1]) for pair in declared if isinstance(pair, list) and len(pair) == 2}  # noqa: PLR2004
    return {}
