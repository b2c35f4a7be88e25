"""What the calls of a node have cost so far in a run, taken-over answers not counted again."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import calls, node_states


@dataclass(frozen=True, slots=True)
class Spent:
    """``unpriced`` answers have no cost, ``uncounted`` ones no usage: they were paid for all the same."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    unpriced: int = 0
    uncounted: int = 0


@patient
def spent_at(database: Database, *, run_id: str, node_id: str) -> Spent:
    """The sum over all executions of the node."""
    tokens = calls.c.prompt_tokens + calls.c.completion_tokens
    statement = (
        sa.select(
            sa.func.coalesce(sa.func.sum(calls.c.cost_usd), 0.0),
            sa.func.coalesce(sa.func.sum(tokens), 0),
            sa.func.count() - sa.func.count(calls.c.cost_usd),
            sa.func.count() - sa.func.count(tokens),
        )
        .select_from(calls.join(node_states, node_states.c.state_id == calls.c.state_id))
        .where(
            node_states.c.run_id == run_id,
            node_states.c.node_id == node_id,
            calls.c.status == "answered",
            calls.c.reused_from.is_(None),
        )
    )
    with database.read() as connection:
        usd, total, unpriced, uncounted = connection.execute(statement).one()
    return Spent(Decimal(str(round(usd, 9))), int(total), int(unpriced), int(uncounted))
