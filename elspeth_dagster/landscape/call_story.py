"""The calls of a state, with their bodies: the prompt, the answer, what they cost, how they ended."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.bodies import answer_of, body_of, failure_of, messages_of
from elspeth_dagster.landscape.paging import PAGE_DEFAULT, PAGE_MAX, Found, Page, paged
from elspeth_dagster.landscape.schema import calls, node_states, runs, tokens
from elspeth_dagster.landscape.story import CallStory
from elspeth_dagster.model.outcome import CallStatus


def calls_of_state(connection: Connection, state_id: str, salt_id: str) -> tuple[CallStory, ...]:
    """The calls made under a state, in order, at most 1,000 of them."""
    question = (
        sa.select(calls).where(calls.c.state_id == state_id).order_by(calls.c.call_index).limit(PAGE_MAX)
    )
    return tuple(_call(connection, found, salt_id) for found in connection.execute(question).all())


def calls_page(
    connection: Connection, state_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[CallStory]:
    """The same, a page at a time; none for a state that is not there."""
    salt_id = connection.execute(
        sa.select(tokens.c.salt_id)
        .join(node_states, node_states.c.token_id == tokens.c.token_id)
        .where(node_states.c.state_id == state_id)
    ).scalar()
    question = sa.select(calls).where(calls.c.state_id == state_id)
    return paged(
        connection,
        question,
        lambda one: _call(connection, one, str(salt_id)),
        by=(calls.c.call_index,),
        after=after,
        limit=limit,
    )


def _call(connection: Connection, found: Found, salt_id: str) -> CallStory:
    request = body_of(connection, salt_id, found.request_hash)
    response = None if found.response_hash is None else body_of(connection, salt_id, found.response_hash)
    return CallStory(
        call_id=found.call_id,
        call_index=found.call_index,
        query=found.query,
        try_no=found.try_no,
        status=CallStatus(found.status),
        provider=found.provider,
        model_requested=found.model_requested,
        model_answered=found.model_answered,
        http_status=found.http_status,
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        cost_usd=found.cost_usd,
        latency_ms=found.latency_ms,
        sent_at=found.sent_at,
        answered_at=found.answered_at,
        reused_from=found.reused_from,
        reused_from_run=_earlier_run(connection, found),
        messages=messages_of(request),
        answer=answer_of(response),
        request=request,
        response=response,
        template_hash=None if found.template_hash is None else found.template_hash.hex(),
        variables_hash=None if found.variables_hash is None else found.variables_hash.hex(),
        error=failure_of(connection, salt_id, found.error_json),
    )


def _earlier_run(connection: Connection, found: Found) -> str | None:
    """The key of the run that paid for an answer; None where that is the call's own run, or nothing was taken over."""
    if found.reused_from is None:
        return None
    own = node_states.alias("own")
    key = connection.execute(
        sa.select(runs.c.run_key)
        .select_from(
            calls.join(node_states, node_states.c.state_id == calls.c.state_id)
            .join(runs, runs.c.run_id == node_states.c.run_id)
            .join(own, own.c.state_id == found.state_id)
        )
        .where(calls.c.call_id == found.reused_from, node_states.c.run_id != own.c.run_id)
    ).scalar()
    return None if key is None else str(key)
