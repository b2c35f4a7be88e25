"""Check that the parts of a declaration fit together, and make a graph of them.

Names, ports, takers and circles are `wiring`'s; here it is what reaches each node: its columns, its model, its file.
Where routes of different columns meet again, a node is checked against those of each route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from elspeth_dagster.errors import SinkError, SourceError
from elspeth_dagster.model.outcome import ERROR_PORT, INVALID_PORT
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.asking import asking
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig, listed
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.sink import FileSinkConfig
from elspeth_dagster.nodes.source import FileSourceConfig
from elspeth_dagster.pipeline.branches import Branches
from elspeth_dagster.pipeline.graph import SOURCE, Doubt, Node, Pipeline, Port, decision_of, port_of
from elspeth_dagster.pipeline.merged_columns import colliding, merged_shapes
from elspeth_dagster.pipeline.parts import Part, Parts
from elspeth_dagster.pipeline.places import PART_CHARS_MAX, Places
from elspeth_dagster.pipeline.spec import Head
from elspeth_dagster.pipeline.wiring import Wiring
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

SHAPES_MAX: Final = 64
"""Sets of columns that may reach one node by different routes; more are taken as one that has them all."""

ReportMistake = Callable[[DeclarationPath, Mistake], None]
"""Takes the node's path, and the mistake below it."""

_DEFAULT_MODEL: Final = "default"
"""What a step asks that names no model: it must be declared, since nobody meant a resource."""

_RESOURCE: Final = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
"""What a Dagster resource can be called: it comes as an argument of that name."""

_ERROR_PORTS = frozenset({ERROR_PORT, INVALID_PORT})


@dataclass(frozen=True, slots=True)
class Checked:
    """A declaration whose parts were connected. ``pipeline`` makes the graph, once there are no mistakes."""

    wiring: Wiring
    order: list[str]
    shapes_in: Mapping[str, tuple[Columns, ...]]
    shapes_out: Mapping[str, tuple[Columns, ...]]
    forks: Mapping[str, str]
    warnings: tuple[Doubt, ...]

    def pipeline(self, head: Head, *, home: Home, spec: Mapping[str, JSON], places: Places) -> Pipeline:
        """The graph of a declaration without mistakes."""
        nodes = {name: self._node(name, head, home=home, places=places) for name in self.order}
        return Pipeline(
            head=head,
            home=home,
            nodes=nodes,
            spec=spec,
            places=places,
            forks=self.forks,
            warnings=self.warnings,
        )

    def _node(self, name: str, head: Head, *, home: Home, places: Places) -> Node:
        part, inputs = self.wiring.parts[name], tuple(self.wiring.inputs[name])
        assert part.config is not None  # noqa: S101 - there are no mistakes
        return Node(
            node_id=name,
            role=part.role,
            config=part.config,
            inputs=inputs,
            ports=self.wiring.ports(name) or (),
            columns_in=_together(self.shapes_in[name]),
            columns_out=_together(self.shapes_out[name]),
            decision=decision_of(part.config, head.models, home),
            takes_errors=frozenset(port for port in inputs if port.name in _ERROR_PORTS),
            line=places.line(part.path),
        )


def checked(parts: Parts, *, home: Home, report: ReportMistake) -> Checked | None:
    """Connect the parts and check every node; every mistake goes to ``report``. None where they cannot be connected."""
    if not parts.is_whole:
        for part in (parts.source, *parts.steps.values(), *parts.sinks.values()):
            _check_node(part, (None,), parts.models, home=home, report=report)
        return None
    wiring = Wiring(parts, lambda path, what: report(path, Mistake((), what)))
    wiring.connect()
    order = wiring.order()
    wiring.check_takers()
    flow = _Flow(wiring)
    for name in order:
        part = wiring.parts[name]
        flow.branches.enter(
            name,
            part.config,
            wiring.inputs[name],
            is_sink=part.role == "sink",
            report=partial(_report_at, report, part),
        )
        _check_node(part, flow.enter(part), parts.models, home=home, report=report)
        _check_price(part, parts.head, report)
    flow.warnings += _timeouts_without_time(wiring)
    for path, what in _same_files(wiring, home):
        report(path, Mistake((), what))
    forks = flow.branches.forks
    return Checked(wiring, order, flow.shapes_in, flow.shapes_out, forks, tuple(flow.warnings))


def _report_at(report: ReportMistake, part: Part, place: tuple[str | int, ...], what: str) -> None:
    report(part.path, Mistake(place, what))


@dataclass(slots=True)
class _Flow:
    """Which columns reach each node and leave it, as one shape a route."""

    wiring: Wiring
    branches: Branches = field(default_factory=Branches)
    shapes_in: dict[str, tuple[Columns, ...]] = field(default_factory=dict)
    shapes_out: dict[str, tuple[Columns, ...]] = field(default_factory=dict)
    warnings: list[Doubt] = field(default_factory=list)

    def enter(self, part: Part) -> tuple[Columns, ...]:
        """The shapes that reach ``part``; all nodes that feed it were entered before."""
        reaching = self._reaching(part)
        leaving: list[Columns] = [None]
        if part.config is not None and part.are_columns_known:
            leaving = [part.config.columns_out(columns) for columns in reaching]
            if isinstance(part.config, CoalesceConfig):
                leaving = self._joined(part, part.config)
        self.shapes_in[part.name] = reaching
        self.shapes_out[part.name] = _few(leaving)
        return reaching

    def _reaching(self, part: Part) -> tuple[Columns, ...]:
        if part.role == "source":
            return ((),)
        ports = self.wiring.inputs[part.name]
        if part.name in self.wiring.unsure or not ports:
            return (None,)
        return _few([columns for port in ports for columns in self._leaving(port)])

    def _joined(self, part: Part, config: CoalesceConfig) -> list[Columns]:
        """What a join makes of the shapes of its branches."""
        if part.name in self.wiring.unsure:
            return [None]
        reaching = {
            branch: _few([shape for port in listed(ports) for shape in self._leaving(port_of(port))])
            for branch, ports in config.from_.items()
        }
        fork_id = self.branches.forks.get(part.name)
        if fork_id is not None:
            found = colliding(config, reaching, self.shapes_in[fork_id])
            self.warnings += [_collision(part.name, config, *one) for one in found.items()]
        return merged_shapes(config, reaching)

    def _leaving(self, port: Port) -> tuple[Columns, ...]:
        """A failed row has the columns that reached the step it failed at."""
        return (self.shapes_in if port.name == ERROR_PORT else self.shapes_out)[port.node_id]


def _collision(name: str, config: CoalesceConfig, field_name: str, branches: tuple[str, ...]) -> Doubt:
    takes = {"last_wins": branches[-1], "first_wins": branches[0]}.get(config.collision_rule)
    then = f"the one of {takes!r} is taken" if takes else "such a row fails"
    return Doubt(
        name,
        f"{name!r}: branches {_and(branches)} each make a field {field_name!r}; where both are merged, {then} "
        f"(on_collision: {config.collision_rule}). Rename one of them to keep both.",
    )


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(repr(name) for name in names)


def _few(shapes: list[Columns]) -> tuple[Columns, ...]:
    different = tuple(dict.fromkeys(shapes))
    return different if len(different) <= SHAPES_MAX else (_together(different),)


def _together(shapes: tuple[Columns, ...]) -> Columns:
    """The columns of all shapes, in order; unknown if one of them is."""
    names: dict[str, None] = {}
    for columns in shapes:
        if columns is None:
            return None
        names.update(dict.fromkeys(columns))
    return tuple(names)


def _check_node(
    part: Part,
    shapes: tuple[Columns, ...],
    models: tuple[str, ...] | None,
    *,
    home: Home,
    report: ReportMistake,
) -> None:
    """What is wrong with a node for any of the sets of columns that may reach it."""
    if part.config is None:
        return
    found = [mistake for columns in shapes for mistake in part.config.mistakes(columns, home)]
    for mistake in (*dict.fromkeys(found), *_model_mistakes(part.config, models)):
        if not _rests_on(mistake, part.doubtful):
            report(part.path, mistake)


def _rests_on(mistake: Mistake, doubtful: frozenset[str]) -> bool:
    """Whether the mistake may only follow from another one, which was told."""
    return bool(doubtful) and (not mistake.path or mistake.path[0] in doubtful)


def _model_mistakes(config: NodeConfig, models: tuple[str, ...] | None) -> Iterator[Mistake]:
    """A name that is like a declared one is a slip of the pen; any other is taken for a Dagster resource's."""
    llm = asking(config)
    if llm is None or models is None or llm.model in models:
        return
    if suggest(llm.model, models) or llm.model == _DEFAULT_MODEL or not _RESOURCE.fullmatch(llm.model):
        listed = ", ".join(models) or "none"
        what = (
            f"There is no model {llm.model[:PART_CHARS_MAX]!r}.{suggest(llm.model, models)} Models: {listed}."
        )
        yield Mistake(("model",) if llm is config else ("run", "model"), what)


def _timeouts_without_time(wiring: Wiring) -> Iterator[Doubt]:
    """A batch's age goes by the times at which rows left the step before, and a source records none."""
    for name, part in wiring.parts.items():
        needs_time = isinstance(part.config, AggregateConfig) and part.config.trigger.needs_time
        if needs_time and {port.node_id for port in wiring.inputs[name]} == {SOURCE}:
            yield Doubt(
                name,
                f"{name!r} takes its rows straight from the source, which records no time for each: its batches have "
                "the age 0, and no time-out fires.",
            )


def _check_price(part: Part, head: Head | None, report: ReportMistake) -> None:
    """A budget in money needs a price; that of a Dagster resource is known only when it runs."""
    llm = None if part.config is None else asking(part.config)
    if head is None or llm is None or llm.budget_usd is None:
        return
    model = head.models.get(llm.model)
    if model is not None and model.price is None:
        what = f"Model {llm.model!r} has no `price`: add one, or bound the tokens with `budget_tokens`."
        report(part.path, Mistake(("budget_usd",) if llm is part.config else ("run", "budget_usd"), what))


def _same_files(wiring: Wiring, home: Home) -> Iterator[tuple[DeclarationPath, str]]:
    """A sink that would overwrite the source's file, or another sink's."""
    owners: dict[Path, str] = {}
    for name, part in wiring.parts.items():
        if not isinstance(part.config, FileSourceConfig | FileSinkConfig) or "path" in part.doubtful:
            continue
        try:
            file = part.config.file(home, partition="partition", run_id="run_id")
        except (SourceError, SinkError):  # a path that cannot be used was told
            continue
        owner = owners.setdefault(file, name)
        if owner != name:
            yield (*part.path, "path"), f"It is the file of {owner!r} too: one would overwrite the other."
