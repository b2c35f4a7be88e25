"""States: every visit of a token to a node, with what was recorded about it."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Found, Key, Page, bounded, keys_at, page_of
from elspeth_dagster.landscape.schema import node_states, nodes
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.row import JSON

FETCHED: Final = 1_000  # states in memory at a time
STREAM_MIN: Final = 20  # of one stream at a time: as quickly read as one


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


ORDER: Final = (node_states.c.order_key, node_states.c.state_id)
Stream = Sequence[sa.ColumnElement[bool]]
EVERY: Final = StateFilter()
_INDEXED: Final = frozenset({StateStatus.OPEN, StateStatus.FAILED})
"""Those that an index of their own has."""


def node_states_page(
    connection: Connection,
    run_id: str,
    *,
    which: StateFilter = EVERY,
    after: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[StateRecord]:
    """The states of a run in the order of its rows, a page at a time; what a page costs does not grow with the run."""
    count = bounded(limit) + 1
    found = list(islice(_in_order(connection, run_id, which, keys_at(after, ORDER), held=count), count))
    return page_of(found, _state, by=ORDER, limit=limit)


def every_node_state(
    connection: Connection, run_id: str, *, which: StateFilter = EVERY
) -> Iterator[StateRecord]:
    """All of them, in the same order, one page in memory at a time."""
    return map(_state, _in_order(connection, run_id, which, None, held=FETCHED))


def _in_order(
    connection: Connection, run_id: str, which: StateFilter, start: Sequence[Key] | None, *, held: int
) -> Iterator[Found]:
    """The states behind ``start``: merged from streams that an index has in order, about ``held`` in memory."""
    streams = list(_streams(connection, run_id, which))
    page = max(STREAM_MIN, held // max(1, len(streams)))
    return heapq.merge(*(_stream(connection, one, start, page) for one in streams), key=_key)


def _key(found: Found) -> tuple[bytes, str]:
    return found.order_key, found.state_id


def _stream(connection: Connection, of: Stream, start: Sequence[Key] | None, page: int) -> Iterator[Found]:
    order_key, state_id = node_states.c.order_key, node_states.c.state_id
    # Compared as bytes on either database: a server's collation would give another order than the one we merge in.
    bytewise = sa.collate(state_id, "C") if connection.dialect.name == "postgresql" else state_id
    question = sa.select(node_states).where(*of).order_by(order_key, bytewise).limit(page)
    while True:
        behind = question
        if start is not None:
            is_behind = sa.or_(order_key > start[0], bytewise > start[1])
            behind = question.where(order_key >= start[0], is_behind)
        found = connection.execute(behind).all()
        yield from found
        if len(found) < page:
            return
        start = _key(found[-1])


def _streams(connection: Connection, run_id: str, which: StateFilter) -> Iterator[Stream]:
    """Conditions that together are all that is asked for; each is the beginning of an index, and what it filters."""
    table = node_states
    if which.token_id is not None:  # a token's few visits
        one = [table.c.run_id == run_id, table.c.token_id == which.token_id]
        one += [table.c.node_id == which.node_id] if which.node_id is not None else []
        yield [*one, *([table.c.status == which.status.value] if which.status is not None else [])]
        return
    for node_id in [which.node_id] if which.node_id is not None else _nodes(connection, run_id):
        of_node = [table.c.run_id == run_id, table.c.node_id == node_id]
        if which.status in _INDEXED:
            # Written out: a bound value would not tell the database that the partial index fits.
            yield [*of_node, table.c.status == sa.literal_column(f"'{which.status.value}'")]
            continue
        of_status = [] if which.status is None else [table.c.status == which.status.value]
        for port in _ports(connection, run_id, node_id):
            yield [*of_node, table.c.out_port == port if port else table.c.out_port.is_(None), *of_status]


def _nodes(connection: Connection, run_id: str) -> list[str]:
    return list(connection.execute(sa.select(nodes.c.node_id).where(nodes.c.run_id == run_id)).scalars())


def _ports(connection: Connection, run_id: str, node_id: str) -> Iterator[str | None]:
    """The ports by which states left a node, None among them: one look into the index each, however many states."""
    table, port = node_states, ""
    yield None
    while True:
        of_node = (table.c.run_id == run_id, table.c.node_id == node_id)
        found = connection.execute(
            sa.select(sa.func.min(table.c.out_port)).where(*of_node, table.c.out_port > port)
        ).scalar()
        if found is None:
            return
        port = str(found)
        yield port


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
