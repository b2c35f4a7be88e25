"""What every kind of node has: a configuration, static checks against the columns that reach it, and a decision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row

Columns = tuple[str, ...] | None
"""The columns that reach a node, in order; None where they cannot be known before the run."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a declaration: ``path`` leads to it from the node's own key, ``what`` says it.

    ``text_line`` counts from 1 inside a text of several lines, such as a prompt.
    """

    path: tuple[str | int, ...]
    what: str
    text_line: int | None = None


_TEXT_LINE = re.compile(r"line (\d+): ")


def mistakes_in_text(path: tuple[str | int, ...], whats: Iterable[str]) -> Iterator[Mistake]:
    """What the expression language found in the text at ``path``, whose findings begin with their line."""
    for what in whats:
        found = _TEXT_LINE.match(what)
        yield Mistake(path, what[found.end() :], int(found[1])) if found else Mistake(path, what)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a declaration lives: ``base`` is its folder, ``root`` the project that its paths must stay inside."""

    base: Path
    root: Path


class Emitted(NamedTuple):
    """The row goes on, through ``port``. A gate says which ``expression`` chose it; None is its `otherwise`.

    A tuple, since one is made for each row at each node: a frozen dataclass takes twice as long to make.
    """

    row: Row
    port: str = OUT_PORT
    expression: str | None = None


Decision = Emitted | Rejected


class Decider(Protocol):
    """A compiled node that needs nothing but the row."""

    def decide(self, row: Row) -> Decision:
        """What becomes of ``row``."""
        ...


@runtime_checkable
class PageDecider(Protocol):
    """A compiled node that decides about a page of rows at once."""

    def decide_page(self, rows: Sequence[Row]) -> list[Decision]:
        """What becomes of each of ``rows``, in their order."""
        ...


def _one_or_several(value: object) -> object:
    """One message where pydantic would give one for each member of the union."""
    several = value if isinstance(value, list | tuple) else [value]
    if not several or not all(isinstance(one, str) for one in several):
        raise ValueError("Expected a port, as in `triage.urgent`, or a list of ports.")
    return value if isinstance(value, str) else list(several)


Sources = Annotated[str | list[str], BeforeValidator(_one_or_several)]
"""The step or port whose rows a node takes, or several of them."""


def listed(sources: str | list[str] | None) -> tuple[str, ...]:
    """The ports that a `from` names, in order."""
    if sources is None:
        return ()
    return (sources,) if isinstance(sources, str) else tuple(sources)


def references(written: JSON) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every port that a `from` names, as it is written, with its place below the `from`."""
    if isinstance(written, str):
        yield (), written
    elif isinstance(written, list):
        for index, one in enumerate(written):
            if isinstance(one, str):
                yield (index,), one
    elif isinstance(written, dict):
        for branch, ports in written.items():
            for place, one in references(ports) if not isinstance(ports, dict) else ():
                yield (branch, *place), one


class NodeConfig(BaseModel):
    """What every node of a declaration may say."""

    # Strict: YAML has types of its own, and `yes` where a number belongs is a slip of the pen.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, strict=True, defer_build=True
    )

    operational: ClassVar[frozenset[str]] = frozenset({"description"})
    """Keys that cannot change a decision: they may differ between a run's attempts."""

    determinism: ClassVar[str] = "deterministic"
    """Of this kind of node, where a declaration does not say otherwise: ask ``determinism_of``."""

    kind: str
    description: str | None = Field(default=None, description="Shown on the asset's page.")

    def determinism_of(self) -> str:
        """Whether the same row always gets the same decision, in the Landscape's word."""
        return self.determinism

    def variables(self) -> tuple[str, ...]:
        """The environment variables that it cannot run without, by name."""
        return ()

    def sources(self) -> tuple[str, ...]:
        """The steps and ports that it takes rows from, as they are written."""
        return ()

    def decision(self, home: Home) -> dict[str, JSON]:
        """What can change this node's decisions, as JSON: its config hash stands on it."""
        _ = home
        made: dict[str, JSON] = self.model_dump(
            mode="json", by_alias=True, exclude=set(self.operational | {"kind"})
        )
        if isinstance(made.get("from"), str):  # as a list of one
            made["from"] = [made["from"]]
        return made

    def operational_values(self) -> dict[str, JSON]:
        """What cannot, as JSON: recorded for each attempt."""
        return self.model_dump(mode="json", by_alias=True, include=set(self.operational))

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """What is wrong with this node, given the columns that reach it."""
        _ = columns, home
        yield from ()

    def columns_out(self, columns: Columns) -> Columns:
        """The columns that leave it."""
        return columns


class StepConfig(NodeConfig):
    """What every step may say."""

    operational: ClassVar[frozenset[str]] = frozenset({"description", "max_error_rate"})

    from_: Sources = Field(
        alias="from",
        description="The step or port whose rows it takes, as in `triage.urgent`; or a list of them.",
    )
    on_error: str | None = Field(
        default=None,
        description="The sink that takes failed rows, or `discard`. Without it they are kept as failed.",
    )
    max_error_rate: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="The share of failed rows that stops the step, once 20 rows are in.",
    )

    def sources(self) -> tuple[str, ...]:
        """The steps and ports that it takes rows from, as they are written."""
        return listed(self.from_)

    def ports(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return (OUT_PORT,)


class Compilable(Protocol):
    """A step that decides without calling anybody."""

    def compile(self, home: Home) -> Decider | PageDecider:
        """Make it ready for rows."""
        ...


def known(columns: Columns) -> frozenset[str] | None:
    """The columns as a set, for expressions; None where they are unknown."""
    return None if columns is None else frozenset(columns)
