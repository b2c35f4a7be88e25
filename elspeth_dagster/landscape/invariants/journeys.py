"""No token is lost or doubled: every one has its way, and ends exactly once."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.adoption import ADOPTED
from elspeth_dagster.landscape.balance import NodeBalance, node_balance, source_balance
from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.invariants.scope import seen_again
from elspeth_dagster.landscape.outcomes import IS_TERMINAL
from elspeth_dagster.landscape.schema import edges, node_states, nodes, rows, token_outcomes, tokens
from elspeth_dagster.landscape.sharded import shard_of_run
from elspeth_dagster.landscape.waiting import Feed


def one_outcome_each(examined: Examined) -> Iterator[Finding]:
    """Every token of a finished run has exactly one terminal outcome; of a run under way, at most one."""
    ended = sa.func.count(token_outcomes.c.outcome_id)
    question = (
        sa.select(tokens.c.token_id, ended)
        .select_from(
            tokens.outerjoin(
                token_outcomes,
                sa.and_(token_outcomes.c.token_id == tokens.c.token_id, IS_TERMINAL),
            )
        )
        .where(tokens.c.run_id == examined.run.run_id)
        .group_by(tokens.c.token_id)
        .having(ended != 1 if examined.is_finished else ended > 1)
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for token_id, count in connection.execute(question):
            what = f"The token has {count} terminal outcomes; it must have one."
            yield Finding("one_outcome", "token_outcomes", token_id, what)


def every_row_has_a_token(examined: Examined) -> Iterator[Finding]:
    """The source made one token for each row, quarantined ones too; and row indices have no gap, or the shard's."""
    of_run = rows.c.run_id == examined.run.run_id
    orphans = (
        sa.select(rows.c.row_id)
        .select_from(rows.outerjoin(tokens, tokens.c.token_id == rows.c.row_id))
        .where(of_run, tokens.c.token_id.is_(None))
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        shard = shard_of_run(connection, examined.run)
        strangers = sa.case((rows.c.row_index % shard.count != shard.index, 1), else_=0)
        extent = (
            sa.select(
                rows.c.source_node_id, sa.func.count(), sa.func.max(rows.c.row_index), sa.func.sum(strangers)
            )
            .where(of_run)
            .group_by(rows.c.source_node_id)
        )
        for row_id in connection.execute(orphans).scalars():
            yield Finding("row_has_token", "rows", row_id, "No token was made for the row.")
        for node_id, count, last, others in connection.execute(extent):
            key = f"{examined.run.run_id}, {node_id}"
            if others:
                yield Finding("row_indices", "rows", key, f"{others} rows are not of the shard {shard.key}.")
            elif last != shard.index + (count - 1) * shard.count:
                what = f"{count} rows have indices up to {last}: some are missing."
                yield Finding("row_indices", "rows", key, what)


def balances(examined: Examined) -> Iterator[Finding]:
    """What arrived at each node was completed, failed, or waits; in a finished run nothing waits."""
    with examined.database.read() as connection:
        known = connection.execute(
            sa.select(nodes.c.node_id, nodes.c.kind)
            .where(nodes.c.run_id == examined.run.run_id)
            .order_by(nodes.c.sequence)
        )
        kinds: dict[str, str] = {node_id: kind for node_id, kind in known}  # noqa: C416 - rows are no pairs to mypy
        node_ids = [node_id for node_id, kind in kinds.items() if kind != ADOPTED]
        feeds: dict[str, list[tuple[str, str]]] = {node_id: [] for node_id in kinds}
        links = sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(
            edges.c.run_id == examined.run.run_id
        )
        for feeder, port, taker in connection.execute(links):
            feeds[taker].append((feeder, port))
    for node_id in node_ids:
        balance = _balance(examined, node_id, feeds, kinds)
        if not balance.holds:
            what = (
                f"{balance.arrived} tokens arrived, but {balance.completed} were completed, {balance.failed} failed "
                f"and {balance.waiting} wait."
            )
            yield Finding("balance", "node_states", node_id, what)
        elif balance.waiting and examined.is_finished:
            yield Finding(
                "balance", "node_states", node_id, f"{balance.waiting} tokens wait in a finished run."
            )


def _balance(
    examined: Examined, node_id: str, feeds: dict[str, list[tuple[str, str]]], kinds: dict[str, str]
) -> NodeBalance:
    run_id = examined.run.run_id
    if not feeds[node_id]:
        return source_balance(examined.database, run_id=run_id, node_id=node_id)
    is_source = {feeder: not feeds[feeder] and kinds[feeder] != ADOPTED for feeder, _ in feeds[node_id]}
    return node_balance(
        examined.database,
        run_id=run_id,
        node_id=node_id,
        feeds=[Feed(feeder, port, is_source[feeder]) for feeder, port in feeds[node_id]],
    )


def one_visit_each(examined: Examined) -> Iterator[Finding]:
    """A token is finished with a node once: no second completed or failed state there.

    No two of its states there have the same number, so one of a second pair has another than 1.
    """
    states = node_states
    count = sa.func.count()
    question = (
        sa.select(states.c.token_id, states.c.node_id, count)
        .where(
            states.c.status.in_(("completed", "failed")),
            seen_again(examined.run.run_id),
        )
        .group_by(states.c.token_id, states.c.node_id)
        .having(count > 1)
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for token_id, node_id, found in connection.execute(question):
            what = f"The token was finished {found} times at this node."
            yield Finding("one_visit", "node_states", f"{token_id}, {node_id}", what)
