"""Explain a row or a token: read its whole story, from the source's record to the line of a sink's file.

Both directions: what a token was made of, and what was made of it. Wide batches and long expansions are cut to their
first tokens, with the number of all; `lineage` has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LandscapeError
from elspeth_dagster.landscape.batch_reads import (
    PlaceInBatch,
    batch_members_page,
    batch_outputs_page,
    batch_that_made,
    batch_that_took,
)
from elspeth_dagster.landscape.bodies import body_of, in_order
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.ending import outcome_of
from elspeth_dagster.landscape.joins import join_that_made
from elspeth_dagster.landscape.purges import purges_of
from elspeth_dagster.landscape.queries import violations_of
from elspeth_dagster.landscape.relatives import LISTED_MAX, children_of, parents_of
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.schema import node_states, rows, tokens
from elspeth_dagster.landscape.sharded import shard_of_run
from elspeth_dagster.landscape.story import BatchStory, Explanation, SourceRow, TokenStory, Violation
from elspeth_dagster.landscape.visits import Graph, ValuesRead, graph_of, visit_of
from elspeth_dagster.model.row import JSON

TOKENS_MAX: Final = 50  # of one row; a person reads no more, and `--token` asks for any other

Found = sa.Row[*tuple[Any, ...]]


def explain_row(
    database: Database, run: RunRecord, row_index: int, *, values_read: ValuesRead
) -> Explanation:
    """The story of a source's row, with the tokens that came of it.

    Raises:
        LandscapeError: the run has no such row.
    """
    with database.read() as connection:
        of_run = sa.select(rows).where(rows.c.run_id == run.run_id, rows.c.row_index == row_index)
        row = connection.execute(of_run).first() or _adopted_row(connection, run, row_index)
        if row is None:
            raise LandscapeError(
                f"Run {run.run_key} has no row {row_index}.",
                where=database.shown_url,
                hint=_rows_there(connection, run),
            )
        of_row = tokens.c.row_id == row.row_id
        made = connection.execute(
            sa.select(tokens)
            .where(of_row, tokens.c.run_id == run.run_id)
            .order_by(tokens.c.order_key, tokens.c.token_id)
            .limit(TOKENS_MAX)
        ).all()
        total = connection.execute(
            sa.select(sa.func.count()).select_from(tokens).where(of_row, tokens.c.run_id == run.run_id)
        ).scalar_one()
        return _explanation(connection, database, run, row, made, total=total, values_read=values_read)


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
        return _explanation(connection, database, run, row, [token], total=1, values_read=values_read)


def _adopted_row(connection: Connection, run: RunRecord, row_index: int) -> Found | None:
    """A row of an earlier run, of which this one took tokens over: found through those, which takes longer."""
    question = (
        sa.select(rows)
        .join(tokens, tokens.c.row_id == rows.c.row_id)
        .where(tokens.c.run_id == run.run_id, rows.c.row_index == row_index)
        .limit(1)
    )
    return connection.execute(question).first()


def _rows_there(connection: Connection, run: RunRecord) -> str:
    last = connection.execute(
        sa.select(sa.func.max(rows.c.row_index)).where(rows.c.run_id == run.run_id)
    ).scalar()
    if last is None:
        return "no row was read yet"
    shard = shard_of_run(connection, run)
    step = "" if shard.count == 1 else f", every {shard.count} rows"
    return f"its rows are {shard.index} to {last}{step}"


def _explanation(
    connection: Connection,
    database: Database,
    run: RunRecord,
    row: Found | None,
    made: Sequence[Found],
    *,
    total: int,
    values_read: ValuesRead,
) -> Explanation:
    graph = graph_of(connection, run.run_id, values_read)
    violations = {} if row is None else violations_of(database, [row.row_id])
    source = None if row is None else _source_row(connection, graph, row, violations.get(row.row_id, []))
    purged = purges_of(connection, run.run_id)
    return Explanation(
        run=run,
        row=source,
        tokens=tuple(_token(connection, graph, token) for token in made),
        tokens_total=total,
        purged_at=purged[-1].purged_at if purged else None,
    )


def _source_row(connection: Connection, graph: Graph, row: Found, violations: list[JSON]) -> SourceRow:
    path = graph.configs.get(row.source_node_id, {}).get("path")
    return SourceRow(
        row_id=row.row_id,
        row_index=row.row_index,
        source_node_id=row.source_node_id,
        kind=graph.kinds.get(row.source_node_id, "source"),
        path=path if isinstance(path, str) else None,
        port=row.out_port,
        data=in_order(
            body_of(connection, row.row_id, row.data_hash), graph.columns.get(row.source_node_id, ())
        ),
        violations=tuple(Violation(**violation) for violation in violations if isinstance(violation, dict)),  # type: ignore[arg-type]
    )


def _token(connection: Connection, graph: Graph, token: Found) -> TokenStory:
    found = connection.execute(sa.select(node_states).where(node_states.c.token_id == token.token_id)).all()
    places = list(graph.kinds)  # in the pipeline's order, which tells visits of one instant apart
    states = sorted(found, key=lambda one: (one.started_at, places.index(one.node_id), one.attempt))
    return TokenStory(
        token_id=token.token_id,
        branch=token.branch,
        created_by_node_id=token.created_by_node_id,
        visits=tuple(visit_of(connection, graph, state, token.salt_id) for state in states),
        outcome=outcome_of(connection, token),
        parents=parents_of(connection, token.token_id),
        children=children_of(connection, token.token_id),
        made_by_join=join_that_made(connection, token.token_id),
        made_by_batch=_batch(connection, batch_that_made(connection, token.token_id)),
        taken_by_batch=_batch(connection, batch_that_took(connection, token.token_id)),
    )


def _batch(connection: Connection, place: PlaceInBatch | None) -> BatchStory | None:
    if place is None:
        return None
    batch_id = place.batch.batch_id
    return BatchStory(
        batch=place.batch,
        ordinal=place.ordinal,
        members=batch_members_page(connection, batch_id, limit=LISTED_MAX).items,
        outputs=batch_outputs_page(connection, batch_id, limit=LISTED_MAX).items,
    )
