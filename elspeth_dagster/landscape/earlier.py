"""What earlier executions of a node left behind: attempts at a token, and answers that were paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import (
    calls,
    node_executions,
    node_states,
    payloads,
    row_salts,
    rows,
    tokens,
)


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """A durable answer to one call, valid or not, with the body that came back."""

    call_id: str
    query: str
    try_no: int
    model_answered: str | None
    http_status: int | None
    request_hash: bytes
    response_hash: bytes | None
    template_hash: bytes | None
    variables_hash: bytes | None
    prompt_tokens: int | None
    completion_tokens: int | None
    body: bytes | None


ANSWER_COLUMNS: Final = (
    calls.c.call_id,
    calls.c.query,
    calls.c.try_no,
    calls.c.model_answered,
    calls.c.http_status,
    calls.c.request_hash,
    calls.c.response_hash,
    calls.c.template_hash,
    calls.c.variables_hash,
    calls.c.prompt_tokens,
    calls.c.completion_tokens,
    payloads.c.body,
)
"""What `EarlierAnswer` is made of, in its order."""

IS_ITS_BODY: Final = sa.and_(
    payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == calls.c.response_hash
)
"""That a payload is the body which came back: it lies with the row that the call was made for."""


@patient
def earlier_attempts(database: Database, node_id: str, token_ids: Sequence[str]) -> dict[str, int]:
    """The number of attempts that each of these tokens has had at the node; those without one are left out."""
    statement = (
        sa.select(node_states.c.token_id, sa.func.max(node_states.c.attempt))
        .where(node_states.c.node_id == node_id, node_states.c.token_id.in_(token_ids))
        .group_by(node_states.c.token_id)
    )
    with database.look_up() as connection:
        return {str(token_id): int(attempt) for token_id, attempt in connection.execute(statement)}


@patient
def finished_tokens(database: Database, node_id: str, token_ids: Sequence[str]) -> frozenset[str]:
    """Which of these tokens the node has finished with, one way or the other."""
    statement = sa.select(node_states.c.token_id).where(
        node_states.c.node_id == node_id,
        node_states.c.token_id.in_(token_ids),
        node_states.c.status.in_(("completed", "failed")),
    )
    with database.look_up() as connection:
        return frozenset(connection.execute(statement).scalars())


@patient
def earlier_answers(
    database: Database, node_id: str, token_ids: Sequence[str]
) -> dict[str, list[EarlierAnswer]]:
    """Every answer that was recorded for these tokens at the node, each once, in the order of the tries."""
    statement = (
        sa.select(node_states.c.token_id, *ANSWER_COLUMNS)
        .select_from(
            calls.join(node_states, node_states.c.state_id == calls.c.state_id)
            .join(tokens, tokens.c.token_id == node_states.c.token_id)
            .outerjoin(payloads, IS_ITS_BODY)
        )
        .where(
            node_states.c.node_id == node_id,
            node_states.c.token_id.in_(token_ids),
            calls.c.status == "answered",
            calls.c.reused_from.is_(None),
        )
        .order_by(node_states.c.token_id, calls.c.query, calls.c.try_no)
    )
    found: dict[str, list[EarlierAnswer]] = {}
    with database.look_up() as connection:
        for token_id, *cells in connection.execute(statement):
            found.setdefault(str(token_id), []).append(EarlierAnswer(*cells))
    return found


@patient
def known_salts(database: Database, salt_ids: Sequence[str]) -> dict[str, bytes]:
    """The salts that were drawn before, so that a resumed source hashes alike."""
    statement = sa.select(row_salts.c.salt_id, row_salts.c.salt).where(row_salts.c.salt_id.in_(salt_ids))
    with database.look_up() as connection:
        return {str(salt_id): bytes(salt) for salt_id, salt in connection.execute(statement)}


@patient
def known_hashes(database: Database, row_ids: Sequence[str]) -> dict[str, bytes]:
    """What was recorded of these rows' content."""
    statement = sa.select(rows.c.row_id, rows.c.data_hash).where(rows.c.row_id.in_(row_ids))
    with database.look_up() as connection:
        return {str(row_id): bytes(data_hash) for row_id, data_hash in connection.execute(statement)}


@patient
def rows_read_to_the_end(database: Database, run_id: str, source_node_id: str) -> int | None:
    """How many rows an execution of a source that read all of it found; None where none did."""
    statement = sa.select(sa.func.max(node_executions.c.rows_in)).where(
        node_executions.c.run_id == run_id,
        node_executions.c.node_id == source_node_id,
        node_executions.c.status == "completed",
    )
    with database.read() as connection:
        found = connection.execute(statement).scalar_one()
    return None if found is None else int(found)


@patient
def count_rows(database: Database, run_id: str, source_node_id: str) -> int:
    """How many rows of a source are recorded in this run."""
    statement = (
        sa.select(sa.func.count())
        .select_from(rows)
        .where(rows.c.run_id == run_id, rows.c.source_node_id == source_node_id)
    )
    with database.read() as connection:
        return int(connection.execute(statement).scalar_one())
