"""How tokens end: last of all, and with everything that such an end needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.schema import node_states, nodes, routing_events, token_outcomes
from elspeth_dagster.model.outcome import Outcome

_BY_A_SINK: Final = (Outcome.COMPLETED.value, Outcome.ROUTED.value)
_WITH_A_CODE: Final = (Outcome.FAILED.value, Outcome.DISCARDED.value)
_GOES_ON: Final = tuple(
    one.value
    for one in (
        Outcome.FORKED, Outcome.COALESCED, Outcome.CONSUMED_IN_BATCH, Outcome.EXPANDED, Outcome.HANDED_ON
    )
)  # fmt: skip
"""The row goes on in other tokens: no sink and no error has a part in it."""


def nothing_after_the_end(examined: Examined) -> Iterator[Finding]:
    """A token's terminal outcome was given where it was last: it visited no node behind that one."""
    ended_at, visited = nodes.alias("ended_at"), nodes.alias("visited")
    run_id = examined.run.run_id
    question = (
        sa.select(
            token_outcomes.c.outcome_id,
            token_outcomes.c.node_id,
            sa.func.max(visited.c.node_id).label("later"),
        )
        .select_from(token_outcomes)
        .join(ended_at, sa.and_(ended_at.c.run_id == run_id, ended_at.c.node_id == token_outcomes.c.node_id))
        .join(node_states, node_states.c.token_id == token_outcomes.c.token_id)
        .join(visited, sa.and_(visited.c.run_id == run_id, visited.c.node_id == node_states.c.node_id))
        .where(
            token_outcomes.c.run_id == run_id,
            token_outcomes.c.is_terminal,
            visited.c.sequence > ended_at.c.sequence,
        )
        .group_by(token_outcomes.c.outcome_id, token_outcomes.c.node_id)
    )
    yield from each(
        examined,
        question,
        check="nothing_after_the_end",
        table="token_outcomes",
        what=lambda of: f"The token ended at {of.node_id!r}, but went on to {of.later!r}.",
    )


def ended_where_it_was(examined: Examined) -> Iterator[Finding]:
    """A token that ends at a node was finished there, unless its source ended it."""
    outcomes, states = token_outcomes, node_states
    finished = sa.exists().where(
        states.c.token_id == outcomes.c.token_id,
        states.c.node_id == outcomes.c.node_id,
        states.c.status.in_(("completed", "failed")),
    )
    visited = sa.exists().where(states.c.token_id == outcomes.c.token_id)
    at_source = outcomes.c.outcome.in_((Outcome.QUARANTINED.value, Outcome.HANDED_ON.value))
    question = sa.select(outcomes.c.outcome_id, outcomes.c.node_id).where(
        outcomes.c.run_id == examined.run.run_id,
        outcomes.c.is_terminal,
        ~finished,
        ~sa.and_(at_source, ~visited),
    )
    yield from each(
        examined,
        question,
        check="ended_where_it_was",
        table="token_outcomes",
        what=lambda of: f"The token ended at {of.node_id!r}, which never finished with it.",
    )


def required_fields(examined: Examined) -> Iterator[Finding]:
    """An outcome names the sink or the error that it needs, and no other; so do states their results."""
    outcomes, states = token_outcomes, node_states
    lacks = sa.or_(
        outcomes.c.is_terminal == (outcomes.c.outcome == Outcome.BUFFERED.value),
        sa.and_(outcomes.c.sink.is_not(None), outcomes.c.sink != outcomes.c.node_id),
        sa.and_(outcomes.c.outcome.in_(_BY_A_SINK), outcomes.c.sink.is_(None)),
        sa.and_(
            outcomes.c.outcome.in_(_WITH_A_CODE),
            sa.or_(outcomes.c.error_code.is_(None), outcomes.c.sink.is_not(None)),
        ),
        sa.and_(
            outcomes.c.outcome == Outcome.QUARANTINED.value,
            outcomes.c.error_code.is_(None),
            outcomes.c.sink.is_(None),
        ),
        sa.and_(
            outcomes.c.outcome.in_(_GOES_ON),
            sa.or_(outcomes.c.error_code.is_not(None), outcomes.c.sink.is_not(None)),
        ),
    )
    question = sa.select(
        outcomes.c.outcome_id, outcomes.c.outcome, outcomes.c.sink, outcomes.c.error_code
    ).where(outcomes.c.run_id == examined.run.run_id, lacks)
    yield from each(
        examined,
        question,
        check="required_fields",
        table="token_outcomes",
        what=lambda of: (
            f"A token that is {of.outcome} cannot have sink {of.sink!r} and error {of.error_code!r}."
        ),
    )
    lacking = sa.or_(
        sa.and_(states.c.status == "failed", states.c.error_json.is_(None)),
        sa.and_(
            states.c.status == "completed",
            sa.or_(
                states.c.error_json.is_not(None),
                sa.and_(states.c.out_port.is_not(None), states.c.output_hash.is_(None)),
            ),
        ),
        sa.and_(states.c.status != "open", states.c.completed_at.is_(None)),
    )
    yield from each(
        examined,
        sa.select(states.c.state_id, states.c.status).where(states.c.run_id == examined.run.run_id, lacking),
        check="required_fields",
        table="node_states",
        what=lambda of: f"The state is {of.status}, and lacks its output, its error or its end.",
    )


def routing_recorded(examined: Examined) -> Iterator[Finding]:
    """Every token that a gate let through has its choice recorded, and left by that port."""
    states, events = node_states, routing_events
    question = (
        sa.select(states.c.state_id, states.c.out_port, events.c.port)
        .select_from(states.outerjoin(events, events.c.state_id == states.c.state_id))
        .where(
            states.c.run_id == examined.run.run_id,
            states.c.node_id.in_(graph_of(examined).of_kind("gate")),
            states.c.status == "completed",
            sa.or_(events.c.port.is_(None), events.c.port != states.c.out_port),
        )
    )
    yield from each(
        examined,
        question,
        check="routing_recorded",
        table="routing_events",
        what=lambda of: f"It left by {of.out_port!r}; the recorded choice is {of.port!r}.",
    )
