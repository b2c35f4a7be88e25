"""Which part of a pipeline a run works on, and what it takes over from earlier runs for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape.adoption import ADOPTED, last_materialization, registered_nodes
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.registration import NodeRegistration
from elspeth_dagster.model.row import JSON
from elspeth_dagster.pipeline.graph import Node, Pipeline


@dataclass(frozen=True, slots=True)
class Scope:
    """``selected`` are the nodes that run; ``adopted_from`` the run of each node whose tokens were made before."""

    selected: frozenset[str]
    adopted_from: Mapping[str, str] = field(default_factory=dict)

    def nodes(self, pipeline: Pipeline) -> tuple[NodeRegistration, ...]:
        """What a run of this scope is registered with."""
        return tuple(
            _as_itself(node) if node.node_id in self.selected else _as_adopted(node, self.adopted_from)
            for node in pipeline.nodes.values()
            if node.node_id in self.selected or node.node_id in self.adopted_from
        )

    def edges(self, pipeline: Pipeline) -> tuple[tuple[str, str, str], ...]:
        """The connections that tokens take in it."""
        return tuple(edge for edge in pipeline.edges() if edge[2] in self.selected)


def scope_of(
    database: Database,
    pipeline: Pipeline,
    *,
    run_id: str,
    partition_key: str | None,
    selected: frozenset[str] | None,
) -> Scope:
    """The scope of a run: as it was registered, else as it is ``selected`` now; None selects everything.

    Raises:
        LaunchError: the part cannot run by itself.
    """
    everything = frozenset(pipeline.nodes)
    before = registered_nodes(database, run_id)
    if before is not None:
        return Scope(everything) if before.is_whole else Scope(before.selected, before.adopted_from)
    if selected is None or selected >= everything:
        return Scope(everything)
    for node_id in selected:
        if pipeline.nodes[node_id].kind == "coalesce":
            _refuse_halves(pipeline, node_id, node_id, selected, depth=0)
    feeders = {port.node_id for node_id in selected for port in pipeline.nodes[node_id].inputs} - selected
    return Scope(
        selected,
        {feeder: _materialized(database, pipeline, partition_key, feeder) for feeder in sorted(feeders)},
    )


def _materialized(database: Database, pipeline: Pipeline, partition_key: str | None, node_id: str) -> str:
    run_id = last_materialization(
        database, pipeline=pipeline.name, partition_key=partition_key, node_id=node_id
    )
    if run_id is None:
        raise LaunchError(
            f"{node_id!r} was never materialized: there are no rows to take from it.",
            where=f"pipeline {pipeline.name!r}" + (f", partition {partition_key!r}" if partition_key else ""),
            hint="select it too, or materialize it first",
        )
    return run_id


def _refuse_halves(
    pipeline: Pipeline, join: str, node_id: str, selected: frozenset[str], *, depth: int
) -> None:
    """A join needs its branches from one run, so everything between it and its fork must run with it."""
    if node_id not in selected:
        raise LaunchError(
            f"{join!r} joins the branches of a fork, and {node_id!r} is not selected.",
            where=f"pipeline {pipeline.name!r}",
            hint="select everything from the fork to the join: its branches must come from one run",
        )
    kind = pipeline.nodes[node_id].kind
    depth += (kind == "coalesce") - (kind == "fork")
    if depth > 0:
        for port in pipeline.nodes[node_id].inputs:
            _refuse_halves(pipeline, join, port.node_id, selected, depth=depth)


def _as_itself(node: Node) -> NodeRegistration:
    return NodeRegistration(
        node_id=node.node_id,
        kind=node.kind,
        determinism=node.config.determinism_of(),
        config=node.decision,
        input_columns=node.columns_in,
        output_columns=node.columns_out,
    )


def _as_adopted(node: Node, adopted_from: Mapping[str, str]) -> NodeRegistration:
    config: dict[str, JSON] = {"run_id": adopted_from[node.node_id]}
    return NodeRegistration(
        node.node_id, ADOPTED, node.config.determinism_of(), config, None, node.columns_out
    )
