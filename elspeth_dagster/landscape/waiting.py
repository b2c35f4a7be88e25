"""Who waits for a node: the tokens that left the ports which feed it, in order, a page at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.earlier import finished_tokens
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_states, payloads, row_salts, rows, tokens
from elspeth_dagster.model.token import Token

Selected = sa.Select[*tuple[Any, ...]]
Found = sa.Row[*tuple[Any, ...]]

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


def waiting_tokens(
    database: Database, of: Waiting, *, page_tokens: int = PAGE_TOKENS, with_bodies: bool = True
) -> Iterator[Token]:
    """Every token that waits, in order of ``order_key``; holds a page per feed in memory.

    Without bodies, the tokens' rows and salts are empty: for who only needs to know which they are.

    Raises:
        LandscapeError: a row's body was purged.
    """
    streams = [_one_feed(database, of, feed, page_tokens, with_bodies=with_bodies) for feed in of.feeds]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=attrgetter("order_key"))


@patient
def count_waiting(database: Database, of: Waiting, *, any_state_is_done: bool = False) -> int:
    """How many tokens wait.

    ``any_state_is_done``: the node has none but completed and failed states, so that an index alone tells who is done.
    """
    with database.compare() as connection:
        return sum(_count(connection, of, feed, any_state_is_done=any_state_is_done) for feed in of.feeds)


def _one_feed(
    database: Database, of: Waiting, feed: Feed, page_tokens: int, *, with_bodies: bool
) -> Iterator[Token]:
    looks_first = with_bodies and not of.include_done  # most may be done: their bodies are not fetched
    statement = _statement(of, feed, with_bodies=with_bodies and not looks_first).limit(page_tokens)
    after: bytes | int = -1 if feed.is_source else b""
    while True:
        found = page = _page(database, statement, {"after": after})
        if not of.include_done:
            done = finished_tokens(database, of.node_id, [one.token_id for one in found])
            page = [one for one in found if one.token_id not in done]
        if looks_first and page:
            page = _page(database, _with_bodies(of, feed, page), {"after": after})
        yield from _tokens(of, feed, page)
        if len(found) < page_tokens:
            return
        after = found[-1].place


def _tokens(of: Waiting, feed: Feed, page: Sequence[Found]) -> Iterator[Token]:
    for (
        token_id,
        row_id,
        order_key,
        salt_id,
        salt,
        row_hash,
        body,
        error_json,
        branch,
        completed_at,
        _,
    ) in page:
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
            branch,
            completed_at,
        )


@patient
def _page(database: Database, statement: Selected, given: Mapping[str, bytes | int]) -> Sequence[Found]:
    with database.look_up() as connection:
        return connection.execute(statement, given).all()


def _with_bodies(of: Waiting, feed: Feed, page: Sequence[Found]) -> Selected:
    """These of a page once more, whole. Their place bounds what is looked at, on every database."""
    place = rows.c.row_index if feed.is_source else node_states.c.order_key
    wanted = [one.token_id for one in page]
    return _statement(of, feed, with_bodies=True).where(
        place <= page[-1].place, tokens.c.token_id.in_(wanted)
    )


def _count(connection: Connection, of: Waiting, feed: Feed, *, any_state_is_done: bool) -> int:
    """Less what the node has finished with, unless that counts too."""
    table, token_id = (rows, rows.c.row_id) if feed.is_source else (node_states, node_states.c.token_id)
    statement = sa.select(sa.func.count()).select_from(table).where(*_of_feed(of, feed))
    if not of.include_done:
        done = node_states.alias("done")
        is_done = [done.c.token_id == token_id, done.c.node_id == of.node_id]
        if not any_state_is_done:
            is_done.append(done.c.status.in_(("completed", "failed")))
        if connection.dialect.name == "postgresql":
            is_done.append(
                done.c.run_id == of.run_id
            )  # it compares two sets; SQLite looks one after the other up
        statement = statement.where(~sa.exists().where(*is_done))
    return int(connection.execute(statement).scalar_one())


def _statement(of: Waiting, feed: Feed, *, with_bodies: bool) -> Selected:
    """What left by a port, behind a place in its order."""
    # What selects and what orders are of one table, in one index: a database that knows nothing yet of a table's
    # contents, as PostgreSQL right after a source, would otherwise read all of them for each page. Nor is the run asked
    # of its tokens again: they would be looked up by it, and not each by its id.
    place: sa.ColumnElement[Any] = rows.c.row_index
    order_key: sa.ColumnElement[Any] = tokens.c.order_key
    row_hash: sa.ColumnElement[Any] = rows.c.data_hash
    error: sa.ColumnElement[Any] = sa.null()
    completed_at: sa.ColumnElement[Any] = sa.null()
    joined = rows.join(tokens, tokens.c.token_id == rows.c.row_id)
    if not feed.is_source:
        place = order_key = node_states.c.order_key
        # A failed state has no output: its row is the one that came in.
        row_hash = sa.func.coalesce(node_states.c.output_hash, node_states.c.input_hash)
        error, completed_at = node_states.c.error_json, node_states.c.completed_at
        joined = node_states.join(tokens, tokens.c.token_id == node_states.c.token_id)
    salt: sa.ColumnElement[Any] = sa.literal(b"")
    body: sa.ColumnElement[Any] = sa.literal(b"")
    if with_bodies:
        salt, body = row_salts.c.salt, payloads.c.body
        same_body = sa.and_(payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == row_hash)
        joined = joined.outerjoin(row_salts, row_salts.c.salt_id == tokens.c.salt_id)
        joined = joined.outerjoin(payloads, same_body)
    return (
        sa.select(
            tokens.c.token_id,
            tokens.c.row_id,
            order_key.label("order_key"),
            tokens.c.salt_id,
            salt.label("salt"),
            row_hash.label("row_hash"),
            body.label("body"),
            error.label("error_json"),
            tokens.c.branch,
            completed_at.label("completed_at"),
            place.label("place"),
        )
        .select_from(joined)
        .where(
            *_of_feed(of, feed),
            place > sa.bindparam("after", type_=place.type),
        )
        .order_by(place)
    )


def _of_feed(of: Waiting, feed: Feed) -> list[sa.ColumnElement[bool]]:
    """What left by this port."""
    table, node_id = (rows, rows.c.source_node_id) if feed.is_source else (node_states, node_states.c.node_id)
    return [table.c.run_id == of.run_id, node_id == feed.node_id, table.c.out_port == feed.port]
