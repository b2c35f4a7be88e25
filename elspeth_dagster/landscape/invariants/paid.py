"""Calls: each belongs to a state, says how it ended, and was paid for once."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.invariants.scope import calls_of
from elspeth_dagster.landscape.schema import calls, node_executions, node_states, payloads, tokens
from elspeth_dagster.model.outcome import CallStatus

_ANSWERED = CallStatus.ANSWERED.value
_of_state = node_states.c.state_id == calls.c.state_id


def calls_have_their_state(examined: Examined) -> Iterator[Finding]:
    """Every call was made under a state that exists, of the node whose execution made it."""
    executions = node_executions
    question = (
        sa.select(
            calls.c.call_id, calls.c.state_id, node_states.c.node_id, executions.c.node_id.label("made_by")
        )
        .select_from(
            executions.join(calls, calls.c.execution_id == executions.c.execution_id).outerjoin(
                node_states, _of_state
            )
        )
        .where(
            executions.c.run_id == examined.run.run_id,
            sa.or_(node_states.c.state_id.is_(None), node_states.c.node_id != executions.c.node_id),
        )
    )
    yield from each(
        examined,
        question,
        check="calls_have_their_state",
        table="calls",
        what=lambda of: f"Its state {of.state_id} is not there, or is not one of node {of.made_by!r}.",
    )


def calls_complete(examined: Examined) -> Iterator[Finding]:
    """An answered call has its answer, a failed one its error; a reused one stands on an answer to its question."""
    yield from _calls_incomplete(examined)
    yield from _answers_of_others(examined)


def _calls_incomplete(examined: Examined) -> Iterator[Finding]:
    original, its_state = calls.alias("original"), node_states.alias("its_state")
    # Of another run, another token's answer to the same request may be taken over: under a salt of its own.
    in_this_run = its_state.c.run_id == node_states.c.run_id
    lacks = sa.or_(
        sa.and_(
            calls.c.status == _ANSWERED,
            sa.or_(calls.c.response_hash.is_(None), calls.c.answered_at.is_(None)),
        ),
        sa.and_(calls.c.status.in_(("failed", "unknown")), calls.c.error_json.is_(None)),
        sa.and_(
            calls.c.reused_from.is_not(None),
            sa.or_(
                calls.c.status != _ANSWERED,
                original.c.status.is_distinct_from(_ANSWERED),
                original.c.model_answered.is_distinct_from(calls.c.model_answered),
                sa.and_(
                    in_this_run,
                    sa.or_(
                        original.c.response_hash.is_distinct_from(calls.c.response_hash),
                        original.c.query.is_distinct_from(calls.c.query),
                        its_state.c.token_id.is_distinct_from(node_states.c.token_id),
                    ),
                ),
            ),
        ),
    )
    question = (
        sa.select(calls.c.call_id, calls.c.status, calls.c.reused_from)
        .select_from(
            calls.outerjoin(node_states, _of_state)
            .outerjoin(original, original.c.call_id == calls.c.reused_from)
            .outerjoin(its_state, its_state.c.state_id == original.c.state_id)
        )
        .where(calls_of(examined.run.run_id), lacks)
    )
    yield from each(
        examined,
        question,
        check="calls_complete",
        table="calls",
        what=lambda of: (
            f"It is {of.status}, and has no answer or error"
            + (f", or not the one of {of.reused_from}." if of.reused_from else ".")
        ),
    )


def _answers_of_others(examined: Examined) -> Iterator[Finding]:
    """What was taken over from another run has that run's request and answer, where they were not purged there."""
    original, its_state = calls.alias("original"), node_states.alias("its_state")
    own, its_token = tokens.alias("own"), tokens.alias("its_token")
    for column, what in (("response_hash", "answer"), ("request_hash", "request")):
        here, there = payloads.alias("here"), payloads.alias("there")
        question = (
            sa.select(calls.c.call_id, calls.c.reused_from)
            .select_from(
                calls.join(node_states, _of_state)
                .join(original, original.c.call_id == calls.c.reused_from)
                .join(its_state, its_state.c.state_id == original.c.state_id)
                .join(own, own.c.token_id == node_states.c.token_id)
                .join(its_token, its_token.c.token_id == its_state.c.token_id)
                .join(here, sa.and_(here.c.salt_id == own.c.salt_id, here.c.content_hash == calls.c[column]))
                .join(
                    there,
                    sa.and_(
                        there.c.salt_id == its_token.c.salt_id, there.c.content_hash == original.c[column]
                    ),
                )
            )
            .where(
                calls_of(examined.run.run_id),
                its_state.c.run_id != node_states.c.run_id,
                here.c.body != there.c.body,
            )
        )
        yield from each(
            examined,
            question,
            check="calls_complete",
            table="calls",
            what=lambda of, what=what: (
                f"Its {what} is not that of {of.reused_from}, from which it was taken over."
            ),  # type: ignore[misc]
        )


def answered_rows_have_answers(examined: Examined) -> Iterator[Finding]:
    """A row that an llm node completed has a valid answer to as many questions as its neighbours have."""
    answers = sa.func.count(calls.c.query.distinct())
    is_valid = sa.and_(_of_state, calls.c.status == _ANSWERED, calls.c.error_json.is_(None))
    counted = (
        sa.select(node_states.c.state_id, node_states.c.node_id, answers.label("answers"))
        .select_from(node_states.outerjoin(calls, is_valid))
        .where(
            node_states.c.run_id == examined.run.run_id,
            node_states.c.node_id.in_(graph_of(examined).of_kind("llm")),
            node_states.c.status == "completed",
        )
        .where(
            ~sa.func.coalesce(node_states.c.context_after_json, "").startswith(
                '{"adopted_from":', autoescape=True
            )
        )
        .group_by(node_states.c.state_id, node_states.c.node_id)
    )
    with examined.database.read() as connection:
        of_nodes = counted.subquery()
        most = {
            found[0]: found[1]
            for found in connection.execute(
                sa.select(of_nodes.c.node_id, sa.func.max(of_nodes.c.answers)).group_by(of_nodes.c.node_id)
            )
        }
    for node_id, expected in most.items():
        fewer = counted.where(node_states.c.node_id == node_id).having(answers < max(1, expected))
        yield from each(
            examined,
            fewer,
            check="answered_rows_have_answers",
            table="calls",
            what=lambda of: f"The row was completed with {of.answers} valid answers: one is missing.",
        )


def nothing_paid_twice(examined: Examined) -> Iterator[Finding]:
    """One try of one question about one token was answered once; later attempts took that answer over."""
    count = sa.func.count()
    question = (
        sa.select(
            node_states.c.token_id,
            node_states.c.node_id,
            calls.c.query,
            calls.c.try_no,
            count.label("answers"),
        )
        .join(calls, _of_state)
        .where(
            calls_of(examined.run.run_id),
            calls.c.status == _ANSWERED,
            calls.c.reused_from.is_(None),
        )
        .group_by(node_states.c.token_id, node_states.c.node_id, calls.c.query, calls.c.try_no)
        .having(count > 1)
    )
    yield from each(
        examined,
        question,
        check="nothing_paid_twice",
        table="calls",
        what=lambda of: (
            f"{of.node_id!r} had {of.answers} answers to {of.query!r}, try {of.try_no}: one was enough."
        ),
    )
