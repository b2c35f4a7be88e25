"""States: every visit of a token to a node, with what was recorded about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Found, Page, paged
from elspeth_dagster.landscape.schema import node_states
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.row import JSON

FETCHED: Final = 1_000  # states in memory at a time


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One visit. Hashes are hexadecimal; ``context_after`` has the pool's order, the join's arrivals and the like."""

    state_id: str
    token_id: str
    node_id: str
    attempt: int
    status: StateStatus
    out_port: str | None
    input_hash: str | None
    output_hash: str | None
    context_before: Mapping[str, JSON] | None
    context_after: Mapping[str, JSON] | None
    duration_ms: float | None
    error: Mapping[str, JSON] | None
    started_at: str
    completed_at: str | None
    execution_id: str


@dataclass(frozen=True, slots=True)
class StateFilter:
    """Which states of a run; None: all."""

    node_id: str | None = None
    token_id: str | None = None
    status: StateStatus | None = None


EVERY: Final = StateFilter()
ORDER: Final = (node_states.c.order_key, node_states.c.state_id)


def node_states_page(
    connection: Connection,
    run_id: str,
    *,
    which: StateFilter = EVERY,
    after: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[StateRecord]:
    """The states of a run in the order of its rows, a page at a time."""
    return paged(connection, _states(run_id, which), _state, by=ORDER, after=after, limit=limit)


def every_node_state(
    connection: Connection, run_id: str, *, which: StateFilter = EVERY
) -> Iterator[StateRecord]:
    """All of them, in the same order, one page in memory at a time."""
    question = _states(run_id, which).order_by(*ORDER).execution_options(yield_per=FETCHED)
    yield from map(_state, connection.execute(question))


def _states(run_id: str, which: StateFilter) -> sa.Select[*tuple[Any, ...]]:
    table = node_states
    question = sa.select(table).where(table.c.run_id == run_id)
    if which.node_id is not None:
        question = question.where(table.c.node_id == which.node_id)
    if which.token_id is not None:
        question = question.where(table.c.token_id == which.token_id)
    if which.status is not None:
        question = question.where(table.c.status == which.status.value)
    return question


def _state(found: Found) -> StateRecord:
    return StateRecord(
        state_id=found.state_id,
        token_id=found.token_id,
        node_id=found.node_id,
        attempt=found.attempt,
        status=StateStatus(found.status),
        out_port=found.out_port,
        input_hash=None if found.input_hash is None else found.input_hash.hex(),
        output_hash=None if found.output_hash is None else found.output_hash.hex(),
        context_before=_object(found.context_before_json),
        context_after=_object(found.context_after_json),
        duration_ms=found.duration_ms,
        error=_object(found.error_json),
        started_at=found.started_at,
        completed_at=found.completed_at,
        execution_id=found.execution_id,
    )


def _object(text: str | None) -> Mapping[str, JSON] | None:
    value: Mapping[str, JSON] | None = None if text is None else json.loads(text)
    return value
