"""Connect the parts of a declaration: names, ports, takers, and an order in which every node follows what feeds it.

A mistake is told once. A reference that leads nowhere is taken for what was probably meant, so that its absence is not
told a second time as an output that nobody takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT, OUT_PORT
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import StepConfig, references
from elspeth_dagster.nodes.source import DISCARD
from elspeth_dagster.pipeline.graph import SOURCE, Port, port_of
from elspeth_dagster.pipeline.parts import Part, Parts, Report
from elspeth_dagster.pipeline.spec import NAME, NAME_RULE
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

_KEPT_NAMES = frozenset({SOURCE, DISCARD})
_KEPT_FOR_PORTS = frozenset({OUT_PORT, ERROR_PORT, INVALID_PORT})


class Wiring:
    """The nodes of a declaration and what feeds each. Every mistake goes to ``report``.

    ``inputs`` are the ports that feed each node; the nodes in ``unsure`` have others that could not be found, so
    nothing is known of the rows that reach them.
    """

    def __init__(self, parts: Parts, report: Report) -> None:
        self.parts: dict[str, Part] = {SOURCE: parts.source}
        for part in (*parts.steps.values(), *parts.sinks.values()):
            self.parts.setdefault(part.name, part)
        self.inputs: dict[str, list[Port]] = {name: [] for name in self.parts}
        self.unsure: set[str] = set()
        self._declared = parts
        self._report = report
        self._meant: set[Port | str] = set()
        self._ports_missed = 0  # references that lead nowhere, and that nothing is like
        self._sinks_missed = 0

    def connect(self) -> None:
        """Check the names, and follow every reference."""
        self._check_names()
        for part in (*self._declared.steps.values(), *self._declared.sinks.values()):
            self._guess(part)
            if self.parts[part.name] is not part:  # its name is taken, which was told
                self._meant.update(port_of(written) for written, _ in _references(part))
                continue
            references = list(_references(part))
            self._ports_missed += part.role == "step" and not references
            for written, path in references:
                self._take(part.name, written, path)
            if part.role == "step" and (on_error := part.text("on_error")) is not None:
                self._feed(on_error, Port(part.name, ERROR_PORT), (*part.path, "on_error"))
        on_invalid = self._declared.source.text("on_invalid")
        if on_invalid is not None:
            self._feed(on_invalid, Port(SOURCE, INVALID_PORT), (SOURCE, "on_invalid"))

    def _check_names(self) -> None:
        for part in (*self._declared.steps.values(), *self._declared.sinks.values()):
            name = part.name
            if not NAME.fullmatch(name):
                self._report(part.path, f"The name {name!r} must be {NAME_RULE}.")
            elif name in _KEPT_NAMES or (part.role == "step" and name in _KEPT_FOR_PORTS):
                self._report(part.path, f"The name {name!r} has a meaning of its own; choose another.")
            if part.role == "sink" and name in self._declared.steps:
                self._report(part.path, f"A step is called {name!r} already; choose another name.")

    def _guess(self, part: Part) -> None:
        """A key that was misspelt or left out may have named a port or a sink."""
        for key in part.doubtful:
            if (written := part.text(key)) is not None:
                self._meant |= {written, port_of(written)}

    def ports(self, name: str) -> tuple[str, ...] | None:
        """The outputs of a node; None where its configuration does not tell."""
        part = self.parts[name]
        if part.role == "source":
            return (OUT_PORT,)
        if part.role == "sink":
            return ()
        return part.config.ports() if isinstance(part.config, StepConfig) else None

    def _take(self, name: str, written: str, path: DeclarationPath) -> None:
        """``written`` is `node` or `node.port`."""
        node_id, dot, port_name = written.partition(".")
        known = self.ports(node_id) if node_id in self.parts else ()
        port = Port(node_id, port_name or OUT_PORT)
        mistake, guesses = None, len(self._meant)
        if known == ():
            mistake = self._no_such_node(node_id, port_name)
        elif dot and not port_name:
            self._meant.update(Port(node_id, name) for name in known or ())
            mistake = f"{written!r} names no port after its dot."
        elif known is not None and port.name not in known:
            mistake = self._no_such_port(node_id, port_name, known)
        elif port in self.inputs[name]:
            self._report(path, f"{written!r} is named twice.")
            return
        if mistake is None:
            self.inputs[name].append(port)
        else:
            self.unsure.add(name)
            self._ports_missed += len(self._meant) == guesses
            self._report(path, mistake)

    def _no_such_node(self, node_id: str, port_name: str) -> str:
        if node_id in self.parts:
            return f"{node_id!r} is a sink: no rows leave it."
        feeders = [name for name in self.parts if self.ports(name) != ()]
        near = _nearest(node_id, feeders)
        if near is not None:
            ports = self.ports(near) or ()
            self._meant.update(Port(near, name) for name in ports if not port_name or name == port_name)
        return f"There is no step {node_id!r}.{suggest(node_id, feeders)} Steps: {', '.join(feeders)}."

    def _no_such_port(self, node_id: str, port_name: str, known: tuple[str, ...]) -> str:
        if not port_name:
            self._meant.update(Port(node_id, name) for name in known)
            return f"{node_id!r} has several ports: name one of {', '.join(f'{node_id}.{name}' for name in known)}."
        if port_name in {ERROR_PORT, INVALID_PORT}:
            key = "on_invalid" if node_id == SOURCE else "on_error"
            return f"{node_id!r} has no port {port_name!r}: such rows go to the sink that its `{key}` names."
        near = _nearest(port_name, known)
        if near is not None:
            self._meant.add(Port(node_id, near))
        return f"{node_id!r} has no port {port_name!r}.{suggest(port_name, known)} Ports there: {', '.join(known)}."

    def _feed(self, sink: str, port: Port, path: DeclarationPath) -> None:
        if sink == DISCARD:
            return
        if sink in self._declared.sinks:
            self._meant.add(sink)
            if self.parts[sink].role == "sink":
                self.inputs[sink].append(port)
            return
        if sink in self.parts:
            self._sinks_missed += 1
            self._report(path, f"{sink!r} is a {self.parts[sink].role}: name a sink, or `{DISCARD}`.")
            return
        options = [*self._declared.sinks, DISCARD]
        near = _nearest(sink, options)
        self._meant.add(near or DISCARD)
        self._sinks_missed += near is None
        self._report(path, f"There is no sink {sink!r}.{suggest(sink, options)} Sinks: {', '.join(options)}.")

    def order(self) -> list[str]:
        """The nodes, each after what feeds it. A circle is told, and cut where its first node begins."""
        feeders = {name: [port.node_id for port in ports] for name, ports in self.inputs.items()}
        declared = [SOURCE, *self._declared.steps, *self._declared.sinks]
        graph = {name: feeders[name] for name in dict.fromkeys(declared)}
        while True:
            try:
                return list(TopologicalSorter(graph).static_order())
            except CycleError as error:
                circle: list[str] = error.args[1][
                    :-1
                ]  # each node feeds the next, the last one feeds the first
            first = min(circle, key=declared.index)
            at = circle.index(first)
            circle = [*circle[at:], *circle[:at]]
            shown = " -> ".join([*circle, first])
            self._report(
                (*self.parts[first].path, "from"), f"The steps feed each other in a circle: {shown}."
            )
            graph[first] = [name for name in graph[first] if name != circle[-1]]
            self.unsure.add(first)

    def check_takers(self) -> None:
        """Every port has exactly one taker, every sink is fed.

        What seems to be missing is not told where as many references lead nowhere: these will be what is missing.
        """
        takers: dict[Port, list[str]] = {}
        for name, ports in self.inputs.items():
            for port in ports:
                takers.setdefault(port, []).append(name)
        untaken: list[Port] = []
        for name, part in self.parts.items():
            for port in (Port(name, port_name) for port_name in self.ports(name) or () if part.written):
                taken_by = takers.get(port, [])
                if len(taken_by) > 1:
                    what = (
                        f"{_shown(port)!r} has several takers ({', '.join(taken_by)}): put a fork behind it."
                    )
                    self._report(part.path, what)
                elif not taken_by and port not in self._meant:
                    untaken.append(port)
        for port in untaken if len(untaken) > self._ports_missed else ():
            what = f"Nobody takes the rows of {_shown(port)!r}: put a sink or a step behind it."
            self._report(self.parts[port.node_id].path, what)
        unfed = [part for part in self.parts.values() if part.role == "sink" and not self._is_fed(part)]
        for part in unfed if len(unfed) > self._sinks_missed else ():
            self._report(part.path, "Nothing feeds this sink: give it `from:`, or name it in an `on_error`.")

    def _is_fed(self, part: Part) -> bool:
        is_read = part.name not in self.unsure and "from" not in part.doubtful
        return bool(self.inputs[part.name]) or part.name in self._meant or not is_read


def _references(part: Part) -> Iterator[tuple[str, DeclarationPath]]:
    """What a node says that it takes, also where the rest of it could not be read."""
    for place, written in references(part.written.get("from")):
        yield written, (*part.path, "from", *place)


def _shown(port: Port) -> str:
    return port.node_id if port.name == OUT_PORT else f"{port.node_id}.{port.name}"


def _nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that the message suggests."""
    names = list(candidates)
    said = suggest(word, names)
    return next((name for name in names if said.endswith(f" {name!r}?")), None)
