"""Rows that a fork split and a join has not decided about yet, in order; and how long each branch took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import coalesce_events, node_states, payloads, row_salts, tokens
from elspeth_dagster.model.canonical import parsed
from elspeth_dagster.model.row import Row

Found = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Forked:
    """A token that ended at a fork, with the row that each of its branches got."""

    token_id: str
    row_id: str | None
    order_key: bytes
    branch: str | None
    salt_id: str
    salt: bytes
    row: Row


def undecided(
    database: Database, *, run_id: str, fork_id: str, join_id: str, page_tokens: int, is_first: bool
) -> Iterator[list[Forked]]:
    """Pages of what ``fork_id`` split and ``join_id`` has not decided about, in order.

    ``is_first``: it has decided about nothing yet, which saves looking.

    Raises:
        LandscapeError: a row's body was purged.
    """
    after = b""
    question = _split_by(run_id, fork_id)
    while True:
        found = _page(database, question, after, page_tokens)
        decided = frozenset() if is_first else _decided(database, join_id, [one.token_id for one in found])
        if left := [_forked(one, join_id) for one in found if one.token_id not in decided]:
            yield left
        if len(found) < page_tokens:
            return
        after = found[-1].order_key


def _split_by(run_id: str, fork_id: str) -> sa.Select[*tuple[Any, ...]]:
    states = node_states
    same_body = sa.and_(
        payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == states.c.input_hash
    )
    return (
        sa.select(
            tokens.c.token_id, tokens.c.row_id, states.c.order_key, tokens.c.branch, tokens.c.salt_id,
            row_salts.c.salt, payloads.c.body,
        )
        .select_from(
            states.join(tokens, tokens.c.token_id == states.c.token_id)
            .outerjoin(row_salts, row_salts.c.salt_id == tokens.c.salt_id)
            .outerjoin(payloads, same_body)
        )
        .where(
            states.c.run_id == run_id,
            states.c.node_id == fork_id,
            states.c.out_port.is_(None),  # those that it made left by a branch
            states.c.status == "completed",
            states.c.order_key > sa.bindparam("after", type_=sa.LargeBinary),
        )
        # All have no port; naming it tells PostgreSQL that the index has them in this order.
        .order_by(states.c.out_port, states.c.order_key)
        .limit(sa.bindparam("page", type_=sa.Integer))
    )  # fmt: skip


@patient
def _page(
    database: Database, question: sa.Select[*tuple[Any, ...]], after: bytes, page_tokens: int
) -> Sequence[Found]:
    with database.look_up() as connection:
        return connection.execute(question, {"after": after, "page": page_tokens}).all()


@patient
def _decided(database: Database, join_id: str, token_ids: Sequence[str]) -> frozenset[str]:
    # Asked for a page's ids: as a condition of the page itself, PostgreSQL read all decisions for each page.
    events = coalesce_events
    question = sa.select(events.c.parent_token_id).where(
        events.c.parent_token_id.in_(token_ids), events.c.node_id == join_id
    )
    with database.look_up() as connection:
        return frozenset(connection.execute(question).scalars())


def _forked(found: Found, join_id: str) -> Forked:
    if found.body is None or found.salt is None:
        raise LandscapeError(
            f"The body of token {found.token_id} was purged: it cannot be joined any more.",
            where=f"node {join_id}",
            hint="start a new run",
        )
    row = parsed(found.body)
    assert isinstance(row, dict)  # noqa: S101 - only rows are stored as a token's body
    return Forked(found.token_id, found.row_id, found.order_key, found.branch, found.salt_id, found.salt, row)


def arrivals(database: Database, token_ids: Sequence[str], *, fork_id: str) -> dict[str, float]:
    """The milliseconds that each token took from ``fork_id`` to where it waits.

    Its own completed states count; what a join made took as long as the branch that decided the join (the duration of
    its state there), and as long as the token that was forked for it had taken before.
    """
    durations: dict[str, list[float]] = {token_id: [] for token_id in token_ids}
    asked = {token_id: token_id for token_id in token_ids}  # whose states to look at: for whom
    while asked:
        made_by = _makers(database, list(asked))
        for token_id, duration_ms in _durations(database, list(asked)):
            durations[asked[token_id]].append(duration_ms or 0.0)
        merged = [token_id for token_id, node_id in made_by.items() if node_id != fork_id]
        parents = _forked_for(database, merged)
        asked = {parent: asked[token_id] for token_id, parent in parents.items()}
    return {token_id: round(fsum(found), 3) for token_id, found in durations.items()}


@patient
def _makers(database: Database, token_ids: Sequence[str]) -> Mapping[str, str]:
    """The node that made each token."""
    question = sa.select(tokens.c.token_id, tokens.c.created_by_node_id).where(
        tokens.c.token_id.in_(token_ids)
    )
    with database.look_up() as connection:
        return {str(token_id): str(node_id) for token_id, node_id in connection.execute(question)}


@patient
def _durations(database: Database, token_ids: Sequence[str]) -> Sequence[Found]:
    question = sa.select(node_states.c.token_id, node_states.c.duration_ms).where(
        node_states.c.token_id.in_(token_ids), node_states.c.status == "completed"
    )
    with database.look_up() as connection:
        return connection.execute(question).all()


@patient
def _forked_for(database: Database, merged_ids: Sequence[str]) -> Mapping[str, str]:
    """The forked parent of each merged token; a token that no join made is left out."""
    if not merged_ids:
        return {}
    events = coalesce_events
    question = sa.select(events.c.merged_token_id, events.c.parent_token_id).where(
        events.c.merged_token_id.in_(merged_ids)
    )
    with database.look_up() as connection:
        return {str(merged): str(parent) for merged, parent in connection.execute(question)}
