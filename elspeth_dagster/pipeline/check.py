"""Check that the parts of a declaration fit together, and connect them into a graph.

Names, ports, takers, cycles, and the columns that reach each node, in that order: a later check looks only at
nodes that passed the earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT, OUT_PORT
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig, StepConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.source import DISCARD
from elspeth_dagster.pipeline.graph import SOURCE, Node, Pipeline, Port, Role
from elspeth_dagster.pipeline.places import DeclarationPath, Places
from elspeth_dagster.pipeline.spec import Declaration

Report = Callable[[DeclarationPath, str], None]
_NODE_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_ERROR_PORTS = frozenset({ERROR_PORT, INVALID_PORT})


def checked(
    declaration: Declaration, *, home: Home, spec: Mapping[str, JSON], places: Places, report: Report
) -> Pipeline | None:
    """The graph; every mistake goes to ``report``. None where no graph can be made of it."""
    wiring = _Wiring(declaration, report)
    wiring.check_names()
    wiring.connect()
    order = wiring.order()
    if order is None:
        return None
    wiring.check_takers()
    nodes = _nodes(wiring, order, home=home, places=places, report=report)
    return Pipeline(head=declaration.head, home=home, nodes=nodes, spec=spec, places=places)


@dataclass(slots=True)
class _Wiring:
    declaration: Declaration
    report: Report
    inputs: dict[str, list[Port]] = field(default_factory=dict)

    def configs(self) -> dict[str, tuple[Role, NodeConfig]]:
        made: dict[str, tuple[Role, NodeConfig]] = {SOURCE: ("source", self.declaration.source)}
        made.update({name: ("step", config) for name, config in self.declaration.steps.items()})
        made.update({name: ("sink", config) for name, config in self.declaration.sinks.items()})
        return made

    def check_names(self) -> None:
        for section, names in (("steps", self.declaration.steps), ("sinks", self.declaration.sinks)):
            for name in names:
                if not _NODE_NAME.fullmatch(name):
                    self.report(
                        (section, name), "A name is lower case letters, digits, underscores: [a-z][a-z0-9_]*."
                    )
                if name in {SOURCE, DISCARD}:
                    self.report(
                        (section, name), f"The name {name!r} has a meaning of its own; choose another."
                    )
                if section == "sinks" and name in self.declaration.steps:
                    self.report((section, name), f"A step is called {name!r} already.")

    def connect(self) -> None:
        self.inputs = {name: [] for name in self.configs()}
        for name, step in self.declaration.steps.items():
            self._take(name, step.from_, ("steps", name, "from"))
            if step.on_error is not None:
                self._feed(step.on_error, Port(name, ERROR_PORT), ("steps", name, "on_error"))
        for name, sink in self.declaration.sinks.items():
            for source in sink.sources():
                self._take(name, source, ("sinks", name, "from"))
        self._feed(self.declaration.source.on_invalid, Port(SOURCE, INVALID_PORT), ("source", "on_invalid"))

    def _take(self, name: str, source: str, path: DeclarationPath) -> None:
        """`node` or `node.port`."""
        node_id, _, port = source.partition(".")
        ports = self.ports()
        if node_id not in ports:
            self.report(path, f"There is no step {node_id!r}.{suggest(node_id, ports)}")
        elif not port and ports[node_id] != (OUT_PORT,):
            listed = ", ".join(f"{node_id}.{port}" for port in ports[node_id])
            self.report(path, f"{node_id!r} has several ports: name one of {listed}.")
        elif port and port not in ports[node_id]:
            listed = ", ".join(ports[node_id])
            self.report(
                path,
                f"{node_id!r} has no port {port!r}.{suggest(port, ports[node_id])} Ports there: {listed}.",
            )
        elif Port(node_id, port or OUT_PORT) in self.inputs[name]:
            self.report(path, f"{source!r} is named twice.")
        else:
            self.inputs[name].append(Port(node_id, port or OUT_PORT))

    def _feed(self, sink: str, port: Port, path: DeclarationPath) -> None:
        if sink == DISCARD:
            return
        if sink not in self.declaration.sinks:
            options = [*self.declaration.sinks, DISCARD]
            self.report(
                path, f"There is no sink {sink!r}.{suggest(sink, options)} Sinks: {', '.join(options)}."
            )
        else:
            self.inputs[sink].append(port)

    def ports(self) -> dict[str, tuple[str, ...]]:
        return {
            SOURCE: (OUT_PORT,),
            **{name: step.ports() for name, step in self.declaration.steps.items()},
        }

    def order(self) -> list[str] | None:
        """A topological order that keeps to the declared one where it can."""
        graph = {name: [port.node_id for port in ports] for name, ports in self.inputs.items()}
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            self.report(("steps",), f"The steps feed each other in a circle: {cycle}.")
            return None

    def check_takers(self) -> None:
        takers: dict[Port, list[str]] = {}
        for name, ports in self.inputs.items():
            for port in ports:
                takers.setdefault(port, []).append(name)
        for name, port_names in self.ports().items():
            path: DeclarationPath = (SOURCE,) if name == SOURCE else ("steps", name)
            for port_name in port_names:
                shown = name if port_name == OUT_PORT else f"{name}.{port_name}"
                taken_by = takers.get(Port(name, port_name), [])
                if not taken_by:
                    self.report(path, f"Nobody takes the rows of {shown!r}: put a sink or a step behind it.")
                elif len(taken_by) > 1:
                    self.report(path, f"{shown!r} has several takers ({', '.join(taken_by)}): put a fork.")
        for name in self.declaration.sinks:
            if not self.inputs[name]:
                self.report(
                    ("sinks", name), "Nothing feeds this sink: give it `from:`, or name it in an `on_error`."
                )


def _nodes(
    wiring: _Wiring, order: list[str], *, home: Home, places: Places, report: Report
) -> dict[str, Node]:
    configs = wiring.configs()
    nodes: dict[str, Node] = {}
    for name in order:
        role, config = configs[name]
        inputs = tuple(wiring.inputs[name])
        path: DeclarationPath = (SOURCE,) if role == "source" else (f"{role}s", name)
        columns = _columns_in(role, inputs, nodes)
        own = [*config.mistakes(columns, home), *_model_mistakes(config, wiring.declaration)]
        for mistake in own:
            report((*path, *mistake.path), mistake.what)
        nodes[name] = Node(
            node_id=name,
            role=role,
            config=config,
            inputs=inputs,
            ports=wiring.ports().get(name, ()),
            columns_in=columns,
            columns_out=config.columns_out(columns),
            decision={} if own else _decision(config, wiring.declaration, home),
            takes_errors=frozenset(port for port in inputs if port.name in _ERROR_PORTS),
            line=places.line(path),
        )
    return nodes


def _columns_in(role: Role, inputs: tuple[Port, ...], nodes: Mapping[str, Node]) -> Columns:
    """The columns of everything that feeds a node; a failed row has those that reached the step it failed at."""
    if role == "source":
        return ()
    merged: list[str] = []
    for port in inputs:
        feeder = nodes[port.node_id]
        columns = feeder.columns_in if port.name == ERROR_PORT else feeder.columns_out
        if columns is None:
            return None
        merged += columns
    return tuple(dict.fromkeys(merged))


def _model_mistakes(config: NodeConfig, declaration: Declaration) -> list[Mistake]:
    if not isinstance(config, LlmConfig) or config.model in declaration.head.models:
        return []
    models = declaration.head.models
    listed = ", ".join(models) or "none"
    what = f"There is no model {config.model!r}.{suggest(config.model, models)} Models: {listed}."
    return [Mistake(("model",), what)]


def _decision(config: NodeConfig, declaration: Declaration, home: Home) -> dict[str, JSON]:
    decision = config.decision(home)
    if isinstance(config, LlmConfig):
        settings = declaration.head.models[config.model]
        decision["model"] = settings.model_dump(
            mode="json", include={"provider", "model", "base_url", "deployment", "api_version"}
        )
    return decision


def step_of(node: Node) -> StepConfig:
    """The configuration of a node that is a step."""
    assert isinstance(node.config, StepConfig)  # noqa: S101 - callers ask only for steps
    return node.config
