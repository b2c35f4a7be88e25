"""A checked pipeline: nodes, ports and edges, in an order in which every node comes after what feeds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.base import Columns, Home, NodeConfig
from elspeth_dagster.pipeline.places import Places
from elspeth_dagster.pipeline.spec import Head

SOURCE = "source"
"""The node id of a pipeline's source."""

Role = Literal["source", "step", "sink"]


_MODEL_DECIDES = frozenset({"provider", "model", "base_url", "deployment", "api_version"})
"""The keys of a model that choose what answers; its key, price and time-outs do not."""


def model_decision(settings: ModelSettings) -> dict[str, JSON]:
    """What of a model can change a decision."""
    return settings.model_dump(mode="json", include=set(_MODEL_DECIDES))


def decision_of(config: NodeConfig, models: Mapping[str, ModelSettings], home: Home) -> dict[str, JSON]:
    """What can change a node's decisions; of a model that is not known before the launch, its name."""
    decision = config.decision(home)
    if (llm := asking(config)) is not None:
        asks = decision if llm is config else decision["run"]
        assert isinstance(asks, dict)  # noqa: S101 - a configuration
        settings = models.get(llm.model)
        asks["model"] = {"resource": llm.model} if settings is None else model_decision(settings)
    return decision


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """One output of a node."""

    node_id: str
    name: str


def port_of(written: str) -> Port:
    """The port that `node` or `node.port` names."""
    node_id, _, port = written.partition(".")
    return Port(node_id, port or OUT_PORT)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a node's declaration may say, and its author hardly meant."""

    node_id: str
    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True)
class Node:
    """One node: what it is configured to do, what feeds it, what it feeds.

    ``decision`` is what can change its decisions; ``takes_errors`` holds the ports whose rows are failed or
    quarantined.
    """

    node_id: str
    role: Role
    config: NodeConfig
    inputs: tuple[Port, ...]
    ports: tuple[str, ...]
    columns_in: Columns
    columns_out: Columns
    decision: Mapping[str, JSON]
    takes_errors: frozenset[Port]
    line: int | None

    @property
    def kind(self) -> str:
        """``csv``, ``llm``, ``gate``..."""
        return self.config.kind


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that can run. ``nodes`` are in topological order; ``spec`` is the declaration as it was written.

    ``forks`` holds for each coalesce the fork whose branches it joins.
    """

    head: Head
    home: Home
    nodes: Mapping[str, Node]
    spec: Mapping[str, JSON]
    places: Places
    forks: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Doubt, ...] = ()

    @property
    def name(self) -> str:
        """The pipeline's name: its group, its job and the first part of its asset keys."""
        return self.head.name

    def model(self, name: str) -> ModelSettings | None:
        """The settings of a model that is named in the declaration."""
        return self.head.models.get(name)

    def edges(self) -> tuple[tuple[str, str, str], ...]:
        """(from node, port, to node) of every connection."""
        return tuple(
            (port.node_id, port.name, node.node_id) for node in self.nodes.values() for port in node.inputs
        )

    def takers(self, port: Port) -> tuple[str, ...]:
        """The nodes that take a port's rows."""
        return tuple(node.node_id for node in self.nodes.values() if port in node.inputs)

    def leading_to(self, node_id: str) -> dict[str, int]:
        """The nodes whose rows can reach ``node_id``, each with its place in the order."""
        places = {name: place for place, name in enumerate(self.nodes)}
        found: dict[str, int] = {}
        todo = [port.node_id for port in self.nodes[node_id].inputs]
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = places[name]
                todo += [port.node_id for port in self.nodes[name].inputs]
        return found

    def operational(self) -> dict[str, JSON]:
        """What may differ between attempts of a run: pools, prices, error rates, descriptions."""
        nodes: dict[str, JSON] = {
            node.node_id: node.config.operational_values() for node in self.nodes.values()
        }
        models: dict[str, JSON] = {
            name: settings.model_dump(mode="json", exclude=set(_MODEL_DECIDES))
            for name, settings in self.head.models.items()
        }
        return {"nodes": nodes, "models": models, "execution": self.head.execution.model_dump(mode="json")}
