"""The balance of a run and of each of its nodes, in one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.balance import NodeBalance, node_balance, run_balance, source_balance
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import edges, nodes
from elspeth_dagster.landscape.waiting import Feed


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """``created`` tokens = those with a terminal outcome + ``waiting``; and each node's own part of it."""

    created: int
    outcomes: Mapping[str, int]
    waiting: int
    nodes: Mapping[str, NodeBalance]

    @property
    def holds(self) -> bool:
        """Whether no node lost or doubled anything."""
        return self.waiting >= 0 and all(balance.holds for balance in self.nodes.values())


def balance_report(database: Database, run_id: str) -> BalanceReport:
    """The balance as it is now; nodes in the pipeline's order."""
    whole = run_balance(database, run_id)
    with database.read() as connection:
        ordered = sa.select(nodes.c.node_id).where(nodes.c.run_id == run_id).order_by(nodes.c.sequence)
        feeds: dict[str, list[tuple[str, str]]] = {
            node_id: [] for node_id in connection.execute(ordered).scalars()
        }
        links = sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(
            edges.c.run_id == run_id
        )
        for feeder, port, taker in connection.execute(links):
            feeds[taker].append((feeder, port))
    return BalanceReport(
        created=whole.created,
        outcomes=whole.outcomes,
        waiting=whole.waiting,
        nodes={node_id: _of_node(database, run_id, node_id, feeds) for node_id in feeds},
    )


def _of_node(
    database: Database, run_id: str, node_id: str, feeds: Mapping[str, list[tuple[str, str]]]
) -> NodeBalance:
    if not feeds[node_id]:
        return source_balance(database, run_id=run_id, node_id=node_id)
    taken = [Feed(feeder, port, not feeds[feeder]) for feeder, port in feeds[node_id]]
    return node_balance(database, run_id=run_id, node_id=node_id, feeds=taken)
