"""Explain a row or a token: read its whole story, from the source's record to the line of a sink's file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.bodies import (
    answer_of,
    body_of,
    change_between,
    failure_of,
    in_order,
    messages_of,
)
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.ending import outcome_of
from elspeth_dagster.landscape.queries import violations_of
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.schema import (
    calls,
    edges,
    node_states,
    nodes,
    routing_events,
    rows,
    tokens,
)
from elspeth_dagster.landscape.story import (
    Body,
    CallStory,
    Explanation,
    Routing,
    SourceRow,
    Tested,
    TokenStory,
    Violation,
    Visit,
)
from elspeth_dagster.model.outcome import CallStatus, StateStatus
from elspeth_dagster.model.row import JSON, Row

ValuesRead = Callable[[str, Row], Row | None]
"""Tells which fields of a row an expression reads, with their values. The Landscape itself knows no expressions."""

Found = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Graph:
    """The run's nodes and edges, and how to ask what an expression read."""

    kinds: dict[str, str]
    configs: dict[str, dict[str, JSON]]
    columns: dict[str, tuple[str, ...]]
    takers: dict[tuple[str, str], tuple[str, ...]]
    values_read: ValuesRead


def explain_row(
    database: Database, run: RunRecord, row_index: int, *, values_read: ValuesRead
) -> Explanation:
    """The story of a source's row, with every token that came of it.

    Raises:
        LandscapeError: the run has no such row.
    """
    with database.read() as connection:
        question = sa.select(rows).where(rows.c.run_id == run.run_id, rows.c.row_index == row_index)
        row = connection.execute(question).first()
        if row is None:
            raise LandscapeError(
                f"Run {run.run_key} has no row {row_index}.",
                where=database.shown_url,
                hint=_rows_there(connection, run),
            )
        made = connection.execute(
            sa.select(tokens).where(tokens.c.row_id == row.row_id).order_by(tokens.c.order_key)
        ).all()
        return _explanation(connection, database, run, row, made, values_read=values_read)


def explain_token(
    database: Database, run: RunRecord, token_id: str, *, values_read: ValuesRead
) -> Explanation:
    """The story of one token, and of the row that it came from.

    Raises:
        LandscapeError: the run has no such token.
    """
    with database.read() as connection:
        question = sa.select(tokens).where(tokens.c.run_id == run.run_id, tokens.c.token_id == token_id)
        token = connection.execute(question).first()
        if token is None:
            raise LandscapeError(
                f"Run {run.run_key} has no token {token_id!r}.",
                where=database.shown_url,
                hint=f"a token's id begins with its row's, as {run.run_key}-000000000; {_rows_there(connection, run)}",
            )
        row = connection.execute(sa.select(rows).where(rows.c.row_id == token.row_id)).first()
        return _explanation(connection, database, run, row, [token], values_read=values_read)


def _rows_there(connection: Connection, run: RunRecord) -> str:
    last = connection.execute(
        sa.select(sa.func.max(rows.c.row_index)).where(rows.c.run_id == run.run_id)
    ).scalar()
    return "no row was read yet" if last is None else f"its rows are 0 to {last}"


def _explanation(
    connection: Connection,
    database: Database,
    run: RunRecord,
    row: Found | None,
    made: Sequence[Found],
    *,
    values_read: ValuesRead,
) -> Explanation:
    graph = _graph(connection, run.run_id, values_read)
    violations = {} if row is None else violations_of(database, [row.row_id])
    source = None if row is None else _source_row(connection, graph, row, violations.get(row.row_id, []))
    return Explanation(run, source, tuple(_token(connection, graph, token) for token in made))


def _graph(connection: Connection, run_id: str, values_read: ValuesRead) -> _Graph:
    known = connection.execute(
        sa.select(nodes.c.node_id, nodes.c.kind, nodes.c.config_json, nodes.c.output_columns_json).where(
            nodes.c.run_id == run_id
        )
    ).all()
    takers: dict[tuple[str, str], tuple[str, ...]] = {}
    for feeder, port, taker in connection.execute(
        sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(edges.c.run_id == run_id)
    ):
        takers[feeder, port] = (*takers.get((feeder, port), ()), taker)
    return _Graph(
        kinds={node_id: kind for node_id, kind, _, _ in known},
        configs={node_id: json.loads(config) for node_id, _, config, _ in known},
        columns={node_id: tuple(json.loads(columns or "[]")) for node_id, _, _, columns in known},
        takers=takers,
        values_read=values_read,
    )


def _source_row(connection: Connection, graph: _Graph, row: Found, violations: list[JSON]) -> SourceRow:
    path = graph.configs[row.source_node_id].get("path")
    return SourceRow(
        row_id=row.row_id,
        row_index=row.row_index,
        source_node_id=row.source_node_id,
        kind=graph.kinds[row.source_node_id],
        path=path if isinstance(path, str) else None,
        port=row.out_port,
        data=in_order(body_of(connection, row.row_id, row.data_hash), graph.columns[row.source_node_id]),
        violations=tuple(Violation(**violation) for violation in violations if isinstance(violation, dict)),  # type: ignore[arg-type]
    )


def _token(connection: Connection, graph: _Graph, token: Found) -> TokenStory:
    states = connection.execute(
        sa.select(node_states)
        .where(node_states.c.token_id == token.token_id)
        .order_by(node_states.c.started_at, node_states.c.attempt)
    ).all()
    return TokenStory(
        token_id=token.token_id,
        branch=token.branch,
        created_by_node_id=token.created_by_node_id,
        visits=tuple(_visit(connection, graph, state, token.salt_id) for state in states),
        outcome=outcome_of(connection, token),
    )


# One visit ----------------------------------------------------------------------------------------------------------


def _visit(connection: Connection, graph: _Graph, state: Found, salt_id: str) -> Visit:
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
        calls=_calls(connection, state.state_id, salt_id),
        routing=_routing(connection, graph, state, before),
        context=json.loads(state.context_after_json or "{}"),
        error=failure_of(connection, salt_id, state.error_json),
        duration_ms=state.duration_ms,
        started_at=state.started_at,
        completed_at=state.completed_at,
        execution_id=state.execution_id,
        record_hash=None if state.record_hash is None else state.record_hash.hex(),
    )


def _routing(connection: Connection, graph: _Graph, state: Found, row: Body | None) -> Routing | None:
    event = connection.execute(
        sa.select(routing_events).where(routing_events.c.state_id == state.state_id)
    ).first()
    if event is None:
        return None
    if event.expression is not None:
        candidates = {event.port: event.expression}
    else:
        declared = graph.configs[state.node_id].get("routes")
        candidates = _routes(declared)
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


def _calls(connection: Connection, state_id: str, salt_id: str) -> tuple[CallStory, ...]:
    question = sa.select(calls).where(calls.c.state_id == state_id).order_by(calls.c.call_index)
    return tuple(_call(connection, found, salt_id) for found in connection.execute(question).all())


def _call(connection: Connection, found: Found, salt_id: str) -> CallStory:
    request = body_of(connection, salt_id, found.request_hash)
    response = None if found.response_hash is None else body_of(connection, salt_id, found.response_hash)
    return CallStory(
        call_id=found.call_id,
        call_index=found.call_index,
        query=found.query,
        try_no=found.try_no,
        status=CallStatus(found.status),
        provider=found.provider,
        model_requested=found.model_requested,
        model_answered=found.model_answered,
        http_status=found.http_status,
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        cost_usd=found.cost_usd,
        latency_ms=found.latency_ms,
        sent_at=found.sent_at,
        answered_at=found.answered_at,
        reused_from=found.reused_from,
        messages=messages_of(request),
        answer=answer_of(response),
        request=request,
        response=response,
        template_hash=None if found.template_hash is None else found.template_hash.hex(),
        variables_hash=None if found.variables_hash is None else found.variables_hash.hex(),
        error=failure_of(connection, salt_id, found.error_json),
    )
