"""Which records of a run a question has to look at: found by an index, where nearly all of a table needs no look."""

from __future__ import annotations

import sqlalchemy as sa

from elspeth_dagster.landscape.schema import calls, node_executions, node_states


def seen_again(run_id: str) -> sa.ColumnElement[bool]:
    """States of tokens that some node saw another time than the first; in a run without resumes there are none."""
    again = node_states.alias("again")
    # Written out: a partial index serves a condition that is its own, not one with a parameter.
    tokens = sa.select(again.c.token_id).where(again.c.run_id == run_id, sa.text("again.attempt <> 1"))
    return node_states.c.token_id.in_(tokens)


def calls_of(run_id: str) -> sa.ColumnElement[bool]:
    """Calls that executions of the run made."""
    executions = node_executions
    return calls.c.execution_id.in_(sa.select(executions.c.execution_id).where(executions.c.run_id == run_id))
