"""What every kind of node has: a configuration, static checks against the columns that reach it, and a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from elspeth_dagster.model.outcome import OUT_PORT
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row

Columns = tuple[str, ...] | None
"""The columns that reach a node, in order; None where they cannot be known before the run."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a declaration: ``path`` leads to it from the node's own key, ``what`` says it."""

    path: tuple[str | int, ...]
    what: str


@dataclass(frozen=True, slots=True)
class Home:
    """Where a declaration lives: ``base`` is its folder, ``root`` the project that its paths must stay inside."""

    base: Path
    root: Path


@dataclass(frozen=True, slots=True)
class Emitted:
    """The row goes on, through ``port``. A gate says which ``expression`` chose it; None is its `otherwise`."""

    row: Row
    port: str = OUT_PORT
    expression: str | None = None


Decision = Emitted | Rejected


class Decider(Protocol):
    """A compiled node that needs nothing but the row."""

    def decide(self, row: Row) -> Decision:
        """What becomes of ``row``."""
        ...


class NodeConfig(BaseModel):
    """What every node of a declaration may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    operational: ClassVar[frozenset[str]] = frozenset({"description"})
    """Keys that cannot change a decision: they may differ between a run's attempts."""

    determinism: ClassVar[str] = "deterministic"

    kind: str
    description: str | None = Field(default=None, description="Shown on the asset's page.")

    def decision(self, home: Home) -> dict[str, JSON]:
        """What can change this node's decisions, as JSON: its config hash stands on it."""
        _ = home
        return self.model_dump(mode="json", by_alias=True, exclude=set(self.operational | {"kind"}))

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

    from_: str = Field(
        alias="from", description="The step or port whose rows it takes, as in `triage.urgent`."
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

    def ports(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return (OUT_PORT,)


class Compilable(Protocol):
    """A step that decides without calling anybody."""

    def compile(self, home: Home) -> Decider:
        """Make it ready for rows."""
        ...


def known(columns: Columns) -> frozenset[str] | None:
    """The columns as a set, for expressions; None where they are unknown."""
    return None if columns is None else frozenset(columns)
