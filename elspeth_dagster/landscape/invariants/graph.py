"""The run's graph, as it was registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.adoption import ADOPTED
from elspeth_dagster.landscape.invariants.finding import Examined
from elspeth_dagster.landscape.schema import edges, nodes


@dataclass(frozen=True, slots=True)
class Graph:
    """The kind of each node, in topological order; and the edges, as feeder, port, taker."""

    kinds: Mapping[str, str]
    edges: tuple[tuple[str, str, str], ...]

    @property
    def adopts(self) -> bool:
        """Whether tokens of earlier runs came in: their rows and salts are those runs'."""
        return ADOPTED in self.kinds.values()

    @property
    def running(self) -> tuple[str, ...]:
        """The nodes that this run executes."""
        return tuple(node_id for node_id, kind in self.kinds.items() if kind != ADOPTED)

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """The nodes of a kind."""
        return tuple(node_id for node_id, found in self.kinds.items() if found == kind)


def graph_of(examined: Examined) -> Graph:
    """Read the graph; it is as large as the declaration."""
    of_run = nodes.c.run_id == examined.run.run_id
    with examined.database.read() as connection:
        known = connection.execute(
            sa.select(nodes.c.node_id, nodes.c.kind).where(of_run).order_by(nodes.c.sequence)
        ).all()
        links = connection.execute(
            sa.select(edges.c.from_node_id, edges.c.port, edges.c.to_node_id).where(
                edges.c.run_id == examined.run.run_id
            )
        ).all()
    return Graph(
        kinds={found.node_id: found.kind for found in known},
        edges=tuple((found[0], found[1], found[2]) for found in links),
    )
