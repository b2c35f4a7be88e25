"""How a token ended, and where in a sink's file it stands."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.outcomes import IS_TERMINAL
from elspeth_dagster.landscape.schema import artifacts, node_states, token_outcomes
from elspeth_dagster.landscape.story import OutcomeStory, Written
from elspeth_dagster.model.outcome import Outcome

Found = sa.Row[*tuple[Any, ...]]


def outcome_of(connection: Connection, token: Found) -> OutcomeStory | None:
    """How a token ended; None while it waits."""
    table = token_outcomes
    question = sa.select(table).where(table.c.token_id == token.token_id, IS_TERMINAL)
    found = connection.execute(question).first()
    if found is None:
        return None
    return OutcomeStory(
        outcome=Outcome(found.outcome),
        node_id=found.node_id,
        sink=found.sink,
        error_code=found.error_code,
        recorded_at=found.recorded_at,
        written=None if found.sink is None else _written(connection, token, found.sink),
    )


def _written(connection: Connection, token: Found, sink: str) -> Written | None:
    """Where the row stands in the sink's latest artifact: behind every token at this sink that comes before it."""
    question = (
        sa.select(artifacts)
        .where(artifacts.c.run_id == token.run_id, artifacts.c.node_id == sink)
        .order_by(artifacts.c.created_at.desc())
        .limit(1)
    )
    artifact = connection.execute(question).first()
    if artifact is None:
        return None
    states = node_states
    before = (
        sa.select(sa.func.count())
        .select_from(states)
        .where(
            states.c.run_id == token.run_id,
            states.c.node_id == sink,
            states.c.status == "completed",
            states.c.order_key < token.order_key,
        )
    )
    position = int(connection.execute(before).scalar_one()) + 1
    return Written(
        artifact.artifact_id, artifact.uri, artifact.content_hash.hex(), position, artifact.created_at
    )
