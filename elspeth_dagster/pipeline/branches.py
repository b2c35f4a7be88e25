"""Follow forks through the graph: on which branches the rows are that reach a node, and which fork a join closes.

A path has a leg for each fork that was passed: down a branch, or out of a join that closed it. Two paths that part at
one fork carry rows of the same forked parent, which must not meet but in a join or a sink; paths that part anywhere
else were parted by a gate, and may meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from elspeth_dagster.model.ids import BRANCHES_MAX
from elspeth_dagster.model.outcome import ERROR_PORT
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import NodeConfig, listed
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.pipeline.graph import Port, port_of

PATHS_MAX: Final = 64
"""To one node: a graph with more ways around its forks is checked for the first of them, and guarded when it runs."""

JOINS_MAX: Final = BRANCHES_MAX
"""In one pipeline: each has a place in the order behind the branches of its fork."""

BREAKS_ROWS: Final = frozenset({"aggregate", "expand"})
"""Kinds after which a row does not belong to one forked parent any more, or not alone."""

Report = Callable[[tuple[str | int, ...], str], None]
"""Takes the place below the node, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Leg:
    """``way`` is the branch, or the join that closed the fork; ``broken_by`` made other rows of those on it."""

    fork_id: str
    way: str
    is_open: bool = True
    broken_by: str | None = field(default=None, compare=False)


Path = tuple[Leg, ...]
Paths = tuple[Path, ...]


@dataclass(slots=True)
class Branches:
    """``arriving`` at each node; ``forks`` are the fork that each join closes, where it is known."""

    arriving: dict[str, Paths] = field(default_factory=dict)
    forks: dict[str, str] = field(default_factory=dict)
    _leaving: dict[str, Paths] = field(default_factory=dict)
    _joins: int = 0

    def enter(
        self, name: str, config: NodeConfig | None, ports: Sequence[Port], *, is_sink: bool, report: Report
    ) -> None:
        """Follow the paths through a node; all that feed it were entered before."""
        by_port = {port: self._leaving_by(port) for port in ports}
        self.arriving[name] = (
            _different(path for paths in by_port.values() for path in paths) if ports else ((),)
        )
        if isinstance(config, CoalesceConfig):
            self._leaving[name] = self._join(name, config, by_port, report)
            return
        if not is_sink:
            _refuse_meeting(self.arriving[name], ("from",), report)
        kind = None if config is None else config.kind
        leaving = self.arriving[name]
        if kind in BREAKS_ROWS:
            leaving = tuple(tuple(_broken(leg, name) for leg in path) for path in leaving)
        self._leaving[name] = leaving
        if isinstance(config, ForkConfig):
            for branch in config.ports():
                self._leaving[_key(Port(name, branch))] = tuple(
                    (*path, Leg(name, branch)) for path in leaving
                )

    def _leaving_by(self, port: Port) -> Paths:
        """A failed row leaves on the path that it came by."""
        if port.name == ERROR_PORT:
            return self.arriving.get(port.node_id, ())
        # Nothing is known behind a circle that was cut, which was told.
        return self._leaving.get(_key(port), self._leaving.get(port.node_id, ()))

    def _join(
        self, name: str, config: CoalesceConfig, by_port: Mapping[Port, Paths], report: Report
    ) -> Paths:
        leaving: list[Path] = []
        self._joins += 1
        if self._joins == JOINS_MAX + 1:
            report((), f"A pipeline has at most {JOINS_MAX} joins.")
        for branch, ports in config.from_.items():
            place = ("from", branch)
            found = [(written, by_port.get(port_of(written), ())) for written in listed(ports)]
            ended = [
                (written, path, _open_leg(path))
                for written, paths in found
                for path in paths  # none where the port could not be found, which was told
            ]
            for written, path, at in ended:
                mistake = self._mistake(name, branch, written, path, at)
                if mistake is not None:
                    report(place, mistake)
                    break
                assert at is not None  # noqa: S101 - a mistake otherwise
                self.forks.setdefault(name, path[at].fork_id)
                leaving.append((*path[:at], Leg(path[at].fork_id, name, is_open=False)))
            _refuse_meeting(_different(path for _, path, at in ended if at is not None), place, report)
        return _different(leaving)

    def _mistake(self, name: str, branch: str, written: str, path: Path, at: int | None) -> str | None:
        """Why a path cannot end as ``branch`` of the join."""
        if at is None:
            return f"The rows of {written!r} are on no branch: only what a fork has split can be joined."
        leg = path[at]
        if leg.broken_by is not None:
            return (
                f"{leg.broken_by!r} is inside the branch {leg.way!r} of {leg.fork_id!r}: what it makes is not one row "
                "of one forked parent any more, so a join cannot tell which rows belong together. Put it behind the "
                "join, or end its branch in a sink."
            )
        fork_id = self.forks.get(name, leg.fork_id)
        fits = leg.fork_id == fork_id and leg.way == branch
        if not fits and any(other.is_open and other.way == branch for other in path[:at]):
            return (
                f"The rows of {written!r} are still on branch {leg.way!r} of {leg.fork_id!r}: join the branches of "
                f"{leg.fork_id!r} first."
            )
        if leg.fork_id != fork_id:
            return f"The rows of {written!r} are on a branch of {leg.fork_id!r}, the others on branches of {fork_id!r}."
        if leg.way != branch:
            return (
                f"The rows of {written!r} are on branch {leg.way!r} of {leg.fork_id!r}, not on {branch!r}: branch "
                f"{branch!r} never rejoins here.{suggest(branch, [leg.way])}"
            )
        return None


def _key(port: Port) -> str:
    return f"{port.node_id}.{port.name}"


def _broken(leg: Leg, name: str) -> Leg:
    return replace(leg, broken_by=name) if leg.is_open and leg.broken_by is None else leg


def _open_leg(path: Path) -> int | None:
    """The place of the innermost branch that no join has closed yet."""
    return next((at for at in range(len(path) - 1, -1, -1) if path[at].is_open), None)


def _different(paths: Iterable[Path]) -> Paths:
    return tuple(dict.fromkeys(paths))[:PATHS_MAX]


def _refuse_meeting(paths: Paths, place: tuple[str | int, ...], report: Report) -> None:
    """Rows of one forked parent must not meet here."""
    for index, one in enumerate(paths):
        for other in paths[:index]:
            parted = next(((a, b) for a, b in zip(other, one, strict=False) if a != b), None)
            if parted is not None and parted[0].fork_id == parted[1].fork_id:
                told = f"{_named(*parted)} of fork {parted[0].fork_id!r} meet here"
                report(
                    place,
                    f"{told}, as they may only in a coalesce or a sink: put a coalesce before this step.",
                )
                return


def _named(one: Leg, other: Leg) -> str:
    if one.is_open and other.is_open:
        return f"Branches {one.way!r} and {other.way!r}"
    return " and ".join(
        f"branch {leg.way!r}" if leg.is_open else f"what {leg.way!r} joined" for leg in (one, other)
    ).capitalize()
