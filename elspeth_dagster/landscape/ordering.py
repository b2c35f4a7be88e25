"""Name the rows that a pooled node lost, from the order that it recorded.

A pool numbers the rows that it takes from 0, in the order of the node's input. So in a completed execution the numbers
of consecutive rows follow each other; where one is missing, the row that had it lies between its neighbours, and is one
that reached the node and has no state there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_executions, node_states
from elspeth_dagster.landscape.waiting import Feed, Waiting, waiting_tokens

PAGE_STATES: Final = 1_000
LAST_KEY: Final = b"\xff" * 16  # beyond every order key


@dataclass(frozen=True, slots=True)
class LostRow:
    """A row that a node took and has no record of. ``submit_index`` is None where the end of the order is cut off."""

    token_id: str
    submit_index: int | None


@dataclass(frozen=True, slots=True)
class _Gap:
    """Missing numbers, and the order keys of the rows on both sides."""

    first_index: int | None
    count: int
    after: bytes
    before: bytes


@patient
def lost_rows(
    database: Database, *, run_id: str, node_id: str, execution_id: str, feeds: Sequence[Feed]
) -> list[LostRow]:
    """Every row that the ordering of a completed execution shows to be missing; an empty list if it is whole."""
    gaps = list(_gaps(database, execution_id))
    if not gaps:
        return []
    unseen = [
        (token.order_key, token.token_id)
        for token in waiting_tokens(database, Waiting(run_id, node_id, feeds), with_bodies=False)
    ]
    lost: list[LostRow] = []
    for gap in gaps:
        between = [token_id for key, token_id in unseen if gap.after < key < gap.before]
        for offset, token_id in enumerate(between[: gap.count]):
            lost.append(LostRow(token_id, None if gap.first_index is None else gap.first_index + offset))
    return lost


def _gaps(database: Database, execution_id: str) -> Iterator[_Gap]:
    expected, before_key, seen, in_gaps = 0, b"", 0, 0
    with database.read() as connection:
        for order_key, context_json in _states(connection, execution_id):
            seen += 1
            index = _submit_index(context_json)
            if index is not None:
                if index > expected:
                    in_gaps += index - expected
                    yield _Gap(expected, index - expected, before_key, order_key)
                expected = index + 1
            before_key = order_key
        rows_in = connection.execute(
            sa.select(node_executions.c.rows_in).where(node_executions.c.execution_id == execution_id)
        ).scalar()
    missing = (rows_in or 0) - seen - in_gaps
    if missing > 0:
        yield _Gap(None, missing, before_key, LAST_KEY)


def _states(connection: Connection, execution_id: str) -> Iterator[tuple[bytes, str | None]]:
    states = node_states
    run_id, node_id = connection.execute(
        sa.select(node_executions.c.run_id, node_executions.c.node_id).where(
            node_executions.c.execution_id == execution_id
        )
    ).one()
    statement = (
        sa.select(states.c.order_key, states.c.context_after_json)
        .where(
            states.c.run_id == run_id,
            states.c.node_id == node_id,
            states.c.execution_id == execution_id,
            states.c.status.in_(("completed", "failed")),
        )
        .order_by(states.c.order_key)
        .execution_options(yield_per=PAGE_STATES)
    )
    for order_key, context_json in connection.execute(statement):
        yield bytes(order_key), context_json


def _submit_index(context_json: str | None) -> int | None:
    """The row's number in the pool; None for one that needed no call."""
    if context_json is None:
        return None
    index = json.loads(context_json).get("pool", {}).get("submit_index")
    return index if isinstance(index, int) else None
