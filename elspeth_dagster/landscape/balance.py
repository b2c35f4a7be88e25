"""The balance: whatever came to a node left it, or waits; whatever began in a run ended, or waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_states, rows, token_outcomes, tokens
from elspeth_dagster.landscape.waiting import Feed, Waiting, count_waiting

_DONE: Final = frozenset({"completed", "failed"})


@dataclass(frozen=True, slots=True)
class NodeBalance:
    """Tokens at one node. It balances when what arrived is what was completed, failed or waits."""

    arrived: int
    completed: int
    failed: int
    waiting: int
    by_port: dict[str, int]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost or doubled."""
        return self.arrived == self.completed + self.failed + self.waiting


@dataclass(frozen=True, slots=True)
class RunBalance:
    """Tokens of a run: created, and ended by outcome. What has no terminal outcome waits somewhere."""

    created: int
    outcomes: dict[str, int]

    @property
    def waiting(self) -> int:
        """Tokens without a terminal outcome."""
        return self.created - sum(self.outcomes.values())


@patient
def node_balance(database: Database, *, run_id: str, node_id: str, feeds: Sequence[Feed]) -> NodeBalance:
    """The balance of a node that takes tokens from ``feeds``."""
    everything = Waiting(run_id, node_id, feeds, include_done=True)
    by_status: dict[str, int] = {}
    by_port: dict[str, int] = {}
    is_all_done = True
    states = node_states
    made = states.c.input_hash.is_(None)  # the state of a token that this node made: it did not arrive
    with database.read() as connection:
        for status, port, is_made, count in connection.execute(
            sa.select(states.c.status, states.c.out_port, made, sa.func.count())
            .where(states.c.run_id == run_id, states.c.node_id == node_id)
            .group_by(states.c.status, states.c.out_port, made)
        ):
            if status not in _DONE:
                is_all_done = False
                continue
            if not is_made:
                by_status[status] = by_status.get(status, 0) + count
            if port is not None:
                by_port[port] = by_port.get(port, 0) + count
    return NodeBalance(
        arrived=count_waiting(database, everything),
        completed=by_status.get("completed", 0),
        failed=by_status.get("failed", 0),
        waiting=count_waiting(database, Waiting(run_id, node_id, feeds), any_state_is_done=is_all_done),
        by_port=by_port,
    )


@patient
def source_balance(database: Database, *, run_id: str, node_id: str) -> NodeBalance:
    """The balance of a source: every row has its token; quarantined rows count as failed."""
    quarantined = sa.or_(rows.c.out_port.is_(None), rows.c.out_port == "invalid")
    with database.read() as connection:
        of_source = (rows.c.run_id == run_id, rows.c.source_node_id == node_id)
        total = connection.execute(
            sa.select(sa.func.count()).select_from(rows).where(*of_source)
        ).scalar_one()
        bad = connection.execute(
            sa.select(sa.func.count()).select_from(rows).where(*of_source, quarantined)
        ).scalar_one()
        made = connection.execute(
            sa.select(sa.func.count())
            .select_from(tokens)
            .where(tokens.c.run_id == run_id, tokens.c.created_by_node_id == node_id)
        ).scalar_one()
    return NodeBalance(
        arrived=total,
        completed=made - bad,
        failed=bad,
        waiting=0,
        by_port={"out": total - bad, "invalid": bad},
    )


def run_balance(database: Database, run_id: str) -> RunBalance:
    """The balance of a whole run."""
    with database.read() as connection:
        created = connection.execute(
            sa.select(sa.func.count()).select_from(tokens).where(tokens.c.run_id == run_id)
        ).scalar_one()
        found = connection.execute(
            sa.select(token_outcomes.c.outcome, sa.func.count())
            .where(token_outcomes.c.run_id == run_id, token_outcomes.c.is_terminal)
            .group_by(token_outcomes.c.outcome)
        )
        return RunBalance(created, {str(outcome): int(count) for outcome, count in found})
