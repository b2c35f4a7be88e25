"""A finished run came to its end everywhere; attempts are counted without gap."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.invariants.scope import seen_again
from elspeth_dagster.landscape.runs import attempts_of, let_in
from elspeth_dagster.landscape.schema import node_executions, node_states, run_attempts
from elspeth_dagster.landscape.status import latest_executions
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus


def run_closure(examined: Examined) -> Iterator[Finding]:
    """In a finished run, every node's latest execution is completed, and only the latest attempt may be open."""
    if not examined.is_finished:
        return
    run_id = examined.run.run_id
    latest = latest_executions(examined.database, run_id)
    for node_id in graph_of(examined).running:
        if latest.get(node_id) is not ExecutionStatus.COMPLETED:
            how = "was never executed" if latest.get(node_id) is None else f"ended {latest[node_id]}"
            yield Finding("run_closure", "node_executions", f"{run_id}, {node_id}", f"The node {how}.")
    attempts = attempts_of(examined.database, run_id)
    for attempt in attempts:
        if attempt is not let_in(attempts) and attempt.status is RunStatus.RUNNING:
            key = f"{run_id}, {attempt.dagster_run_id}"
            yield Finding(
                "run_closure", "run_attempts", key, "The attempt is open, though another one followed."
            )


def attempts_contiguous(examined: Examined) -> Iterator[Finding]:
    """Attempts at the run, executions of a node, and visits of a token to a node are numbered from 1 without gap.

    No two records have the same number, so only tokens with another number than 1 can lack one.
    """
    run_id = examined.run.run_id
    for table, by, among in (
        (run_attempts, (run_attempts.c.run_id,), run_attempts.c.run_id == run_id),
        (node_executions, (node_executions.c.node_id,), node_executions.c.run_id == run_id),
        (node_states, (node_states.c.token_id, node_states.c.node_id), seen_again(run_id)),
    ):
        count, last, first = (sa.func.count(), sa.func.max(table.c.attempt), sa.func.min(table.c.attempt))
        question = (
            sa.select(*by, count.label("found"), last.label("last"))
            .where(among)
            .group_by(*by)
            .having(sa.or_(last != count, first != 1))
        )
        yield from each(
            examined,
            question,
            check="attempts_contiguous",
            table=table.name,
            what=lambda of: f"{of.found} attempts are numbered up to {of.last}.",
        )
