"""Who waits for a node: the tokens that left the ports which feed it, in order, a page at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import node_states, payloads, row_salts, rows, tokens
from elspeth_dagster.model.token import Token

Selected = sa.Select[*tuple[Any, ...]]

PAGE_TOKENS: Final = 1_000  # a few megabytes of rows, and one query's cost spread thin


@dataclass(frozen=True, slots=True)
class Feed:
    """One port that feeds a node. Source rows have no state: a source's ports are read from `rows`."""

    node_id: str
    port: str
    is_source: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a node takes its tokens from. ``include_done`` keeps those that the node has finished with already."""

    run_id: str
    node_id: str
    feeds: Sequence[Feed]
    include_done: bool = False


def waiting_tokens(database: Database, of: Waiting, *, page_tokens: int = PAGE_TOKENS) -> Iterator[Token]:
    """Every token that waits, in order of ``order_key``; holds a page per feed in memory.

    Raises:
        LandscapeError: a row's body was purged.
    """
    streams = [_one_feed(database, of, feed, page_tokens) for feed in of.feeds]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=attrgetter("order_key"))


def count_waiting(database: Database, of: Waiting) -> int:
    """How many tokens wait."""
    with database.read() as connection:
        return sum(_count(connection, of, feed) for feed in of.feeds)


def _one_feed(database: Database, of: Waiting, feed: Feed, page_tokens: int) -> Iterator[Token]:
    statement = _statement(of, feed)
    after = b""
    while True:
        with database.read() as connection:
            found = connection.execute(statement, {"after": after, "page": page_tokens}).all()
        for token_id, row_id, order_key, salt_id, salt, row_hash, body, error_json in found:
            if body is None or salt is None:
                raise LandscapeError(
                    f"The body of token {token_id} was purged: the node cannot work on it any more.",
                    where=f"run {of.run_id}, node {of.node_id}",
                    hint="start a new run",
                )
            yield Token(
                token_id,
                row_id,
                order_key,
                salt_id,
                salt,
                feed.port,
                feed.node_id,
                row_hash,
                body,
                error_json,
            )
        if len(found) < page_tokens:
            return
        after = found[-1].order_key


def _count(connection: Connection, of: Waiting, feed: Feed) -> int:
    inner = _selected(of, feed, sa.literal(1))
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner.subquery())).scalar_one())


def _statement(of: Waiting, feed: Feed) -> Selected:
    handed = node_states.c.output_hash
    row_hash = (
        rows.c.data_hash if feed.is_source else sa.func.coalesce(handed, node_states.c.input_hash)
    )  # a failed state has no output: its row is the one that came in
    error = sa.null() if feed.is_source else node_states.c.error_json
    order_key = tokens.c.order_key if feed.is_source else node_states.c.order_key
    selected = _selected(
        of,
        feed,
        tokens.c.token_id,
        tokens.c.row_id,
        order_key.label("order_key"),
        tokens.c.salt_id,
        row_salts.c.salt,
        row_hash.label("row_hash"),
        payloads.c.body,
        error.label("error_json"),
        bodies_of=row_hash,
    )
    return (
        selected.where(order_key > sa.bindparam("after", type_=sa.LargeBinary))
        .order_by(order_key)
        .limit(sa.bindparam("page", type_=sa.Integer))
    )


def _selected(
    of: Waiting,
    feed: Feed,
    *columns: sa.ColumnElement[Any],
    bodies_of: sa.ColumnElement[bytes] | None = None,
) -> Selected:
    if feed.is_source:
        joined = tokens.join(rows, rows.c.row_id == tokens.c.token_id)
        where = [
            tokens.c.run_id == of.run_id,
            rows.c.source_node_id == feed.node_id,
            rows.c.out_port == feed.port,
        ]
    else:
        joined = node_states.join(tokens, tokens.c.token_id == node_states.c.token_id)
        where = [
            node_states.c.run_id == of.run_id,
            node_states.c.node_id == feed.node_id,
            node_states.c.out_port == feed.port,
        ]
    if bodies_of is not None:
        joined = joined.outerjoin(row_salts, row_salts.c.salt_id == tokens.c.salt_id).outerjoin(
            payloads,
            sa.and_(payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == bodies_of),
        )
    if not of.include_done:
        done = node_states.alias("done")
        where.append(
            ~sa.exists().where(
                done.c.token_id == tokens.c.token_id,
                done.c.node_id == of.node_id,
                done.c.status.in_(("completed", "failed")),
            )
        )
    return sa.select(*columns).select_from(joined).where(*where)
