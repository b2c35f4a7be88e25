"""What a record refers to is there, and belongs to the same run: foreign keys alone would let runs mix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.evidence import owned
from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.schema import (
    artifacts,
    batch_members,
    batch_outputs,
    batches,
    calls,
    coalesce_events,
    node_executions,
    node_states,
    nodes,
    routing_events,
    rows,
    run_attempts,
    token_outcomes,
    token_parents,
    tokens,
    validation_errors,
)
from elspeth_dagster.model.outcome import Relation

_RELATIONS_ACROSS_RUNS: Final = (Relation.ADOPTED.value,)


@dataclass(frozen=True, slots=True)
class _Reference:
    """``table.column`` names the key ``to`` of another table, whose record must be of the same run."""

    table: sa.Table
    column: str
    to: sa.Column[str]


_REFERENCES: Final = (
    _Reference(rows, "execution_id", node_executions.c.execution_id),
    _Reference(tokens, "row_id", rows.c.row_id),
    _Reference(tokens, "execution_id", node_executions.c.execution_id),
    _Reference(token_parents, "parent_token_id", tokens.c.token_id),
    _Reference(token_parents, "execution_id", node_executions.c.execution_id),
    _Reference(node_states, "token_id", tokens.c.token_id),
    _Reference(node_states, "execution_id", node_executions.c.execution_id),
    _Reference(calls, "execution_id", node_executions.c.execution_id),
    _Reference(calls, "reused_from", calls.c.call_id),
    _Reference(routing_events, "execution_id", node_executions.c.execution_id),
    _Reference(coalesce_events, "parent_token_id", tokens.c.token_id),
    _Reference(coalesce_events, "merged_token_id", tokens.c.token_id),
    _Reference(coalesce_events, "execution_id", node_executions.c.execution_id),
    _Reference(batches, "execution_id", node_executions.c.execution_id),
    _Reference(batch_members, "token_id", tokens.c.token_id),
    _Reference(batch_outputs, "token_id", tokens.c.token_id),
    _Reference(token_outcomes, "token_id", tokens.c.token_id),
    _Reference(token_outcomes, "execution_id", node_executions.c.execution_id),
    _Reference(validation_errors, "row_id", rows.c.row_id),
    _Reference(artifacts, "execution_id", node_executions.c.execution_id),
)


def references_within_the_run(examined: Examined) -> Iterator[Finding]:
    """Tokens, rows, states and executions that a record names are there, and of its run."""
    adopts = graph_of(examined).adopts
    for reference in _REFERENCES:
        # What comes of an adopted token keeps the row of the run where that was read.
        may_cross = adopts and (reference.table.name, reference.column) == ("tokens", "row_id")
        yield from _broken(examined, reference, may_cross=may_cross)


def _broken(examined: Examined, reference: _Reference, *, may_cross: bool) -> Iterator[Finding]:
    table, to = reference.table, reference.to.table.alias("named")
    named = table.c[reference.column]
    joined, owner = owned(table)
    joined = joined.outerjoin(to, to.c[reference.to.name] == named)
    where = [owner.c.run_id == examined.run.run_id, named.is_not(None)]
    is_there = to.c[reference.to.name]
    if "run_id" in to.c and not may_cross:
        where.append(sa.or_(is_there.is_(None), to.c.run_id != examined.run.run_id))
    else:
        where.append(is_there.is_(None))
    if table is token_parents:
        where.append(table.c.relation.not_in(_RELATIONS_ACROSS_RUNS))
    question = (
        sa.select(*table.primary_key.columns, named.label("named_key")).select_from(joined).where(*where)
    )
    with examined.database.read() as connection:
        for *key, name in connection.execute(question.execution_options(yield_per=PAGE)):
            what = f"Its {reference.column} {name} is not there, or of another run."
            yield Finding("reference", table.name, ", ".join(map(str, key)), what)


def executions_of_attempts(examined: Examined) -> Iterator[Finding]:
    """Every execution belongs to an attempt of its run, and to a node of it."""
    executions = node_executions
    of_attempt = sa.and_(
        run_attempts.c.run_id == executions.c.run_id,
        run_attempts.c.dagster_run_id == executions.c.dagster_run_id,
    )
    of_node = sa.and_(nodes.c.run_id == executions.c.run_id, nodes.c.node_id == executions.c.node_id)
    question = (
        sa.select(
            executions.c.execution_id,
            executions.c.dagster_run_id,
            executions.c.node_id,
            run_attempts.c.attempt,
            nodes.c.node_id,
        )
        .select_from(executions.outerjoin(run_attempts, of_attempt).outerjoin(nodes, of_node))
        .where(executions.c.run_id == examined.run.run_id)
    )
    with examined.database.read() as connection:
        for execution_id, dagster_run_id, node_id, attempt, known_node in connection.execute(question):
            if attempt is None:
                what = f"Execution {execution_id} belongs to it, but it is not there."
                key = f"{examined.run.run_id}, {dagster_run_id}"
                yield Finding("execution_of_attempt", "run_attempts", key, what)
            if known_node is None:
                what = f"Execution {execution_id} is of it, but it is not there."
                yield Finding("execution_of_attempt", "nodes", f"{examined.run.run_id}, {node_id}", what)
