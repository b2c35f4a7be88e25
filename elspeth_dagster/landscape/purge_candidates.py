"""Which runs are old enough to be purged, and which of their rows younger runs still use."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import RunRecord, attempts_of, heartbeat_of, runs_before
from elspeth_dagster.landscape.schema import calls, node_states, row_salts, tokens
from elspeth_dagster.landscape.status import run_status
from elspeth_dagster.model.outcome import RunStatus


def old_runs(database: Database, *, before: str, now: dt.datetime) -> list[tuple[RunRecord, str]]:
    """The runs that ended before a moment, oldest first, each with when it did; none that may be under way."""
    found = []
    for run in runs_before(database, before):
        ended_at = ended_at_of(database, run.run_id, now)
        if ended_at is not None and ended_at < before:
            found.append((run, ended_at))
    return found


def ended_at_of(database: Database, run_id: str, now: dt.datetime) -> str | None:
    """When the run ended; where nobody closed its last attempt, when it was last heard of. None: it is under way."""
    if run_status(database, run_id, now=now) is RunStatus.RUNNING:
        return None
    ended = [attempt.ended_at for attempt in attempts_of(database, run_id) if attempt.ended_at is not None]
    return max([*ended, heartbeat_of(database, run_id)])


def spared_salts(database: Database, old: Collection[str]) -> set[str]:
    """The salts of ``old`` runs under which another, younger run has something: a token, or an answer taken over.

    Reads all tokens and calls of the younger runs once; it holds what it finds in memory, which is what was adopted.
    """
    taken_over = calls.alias("taken_over")
    asked, answered = node_states.alias("asked"), node_states.alias("answered")
    adopted = (
        sa.select(tokens.c.salt_id)
        .join(row_salts, row_salts.c.salt_id == tokens.c.salt_id)
        .where(row_salts.c.run_id.in_(old), tokens.c.run_id.not_in(old))
    )
    reused = (
        sa.select(tokens.c.salt_id)
        .select_from(
            calls.join(asked, asked.c.state_id == calls.c.state_id)
            .join(taken_over, taken_over.c.call_id == calls.c.reused_from)
            .join(answered, answered.c.state_id == taken_over.c.state_id)
            .join(tokens, tokens.c.token_id == answered.c.token_id)
        )
        .where(calls.c.reused_from.is_not(None), answered.c.run_id.in_(old), asked.c.run_id.not_in(old))
    )
    if not old:
        return set()
    with database.read() as connection:
        return {str(salt_id) for salt_id in connection.execute(adopted.union(reused)).scalars()}
