"""The rows that left a node in a run: for who wants them as a table."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import node_states, nodes, payloads, tokens
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, Feed, Waiting, waiting_tokens
from elspeth_dagster.model.canonical import parsed
from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.model.row import Row

_SOURCE_ID = "source"


def rows_left(database: Database, run_id: str, node_id: str, *, port: str | None = None) -> Iterator[Row]:
    """The rows that left a node by a port, in order; of a sink, those that it wrote.

    Raises:
        LandscapeError: the run did not work on the node, or a row was purged.
    """
    with database.read() as connection:
        kind = connection.execute(
            sa.select(nodes.c.kind).where(nodes.c.run_id == run_id, nodes.c.node_id == node_id)
        ).scalar()
        leads_on = connection.execute(
            sa.select(sa.literal(1))
            .where(
                node_states.c.run_id == run_id,
                node_states.c.node_id == node_id,
                node_states.c.out_port.is_not(None),
            )
            .limit(1)
        ).first()
    if kind is None:
        raise LandscapeError(
            f"Run {run_id} did not work on {node_id!r}.",
            where=database.shown_url,
            hint="materialize it, or name another run",
        )
    if node_id != _SOURCE_ID and leads_on is None and port is None:
        yield from _written(database, run_id, node_id)
        return
    feed = Feed(node_id, port or OUT_PORT, node_id == _SOURCE_ID)
    for token in waiting_tokens(database, Waiting(run_id, "", [feed], include_done=True)):
        yield _row(token.body, token.token_id)


def _written(database: Database, run_id: str, node_id: str) -> Iterator[Row]:
    """A sink's states have no port: what they took in is what was written."""
    states = node_states
    same_body = sa.and_(
        payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == states.c.input_hash
    )
    question = (
        sa.select(states.c.token_id, states.c.order_key, payloads.c.body)
        .join(tokens, tokens.c.token_id == states.c.token_id)
        .outerjoin(payloads, same_body)
        .where(
            states.c.run_id == run_id,
            states.c.node_id == node_id,
            states.c.out_port.is_(None),
            states.c.status == "completed",
            states.c.order_key > sa.bindparam("after", type_=sa.LargeBinary),
        )
        .order_by(states.c.out_port, states.c.order_key)  # as the index has them
        .limit(PAGE_TOKENS)
    )
    after = b""
    while True:
        with database.look_up() as connection:
            found = connection.execute(question, {"after": after}).all()
        for token_id, _, body in found:
            yield _row(body, token_id)
        if len(found) < PAGE_TOKENS:
            return
        after = found[-1].order_key


def _row(body: bytes | None, token_id: str) -> Row:
    if body is None:
        raise LandscapeError(
            f"The row of token {token_id} was purged.", where=token_id, hint="materialize the pipeline again"
        )
    row = parsed(body)
    return row if isinstance(row, dict) else {"_record": row}
