"""What an aggregate runs on a batch: the seam that `stats`, `python` and `llm` fit into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake

BatchResult = Succeeded[list[Row]] | Rejected
"""The rows that a batch became, in order; or why the whole batch failed."""


class BatchDecider(Protocol):
    """A compiled run that needs nothing but the rows."""

    def admit(self, row: Row) -> Rejected | None:
        """Why ``row`` cannot be a member of any batch: it fails alone, and spoils nobody's batch."""
        ...

    def decide_batch(self, rows: Sequence[Row], key: Row) -> BatchResult:
        """What becomes of one batch; ``key`` are the fields that it was grouped by."""
        ...


class BatchRunConfig(BaseModel):
    """What every `run:` says. ``is_foreign``: it runs code that is not of this package."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, strict=True, defer_build=True
    )

    determinism: ClassVar[str] = "deterministic"
    is_foreign: ClassVar[bool] = False

    @property
    def is_passthrough_possible(self) -> bool:
        """Whether it can give back a row for each member."""
        return True

    def mistakes(self, columns: Columns, home: Home, *, group_by: Sequence[str]) -> Iterator[Mistake]:
        """What is wrong with it, given the columns that reach the aggregate."""
        _ = columns, home, group_by
        yield from ()

    def columns_out(self, columns: Columns, *, group_by: Sequence[str]) -> Columns:
        """The columns of the rows that it makes."""
        _ = columns, group_by
        return None

    def decision(self, home: Home) -> dict[str, JSON]:
        """What can change its decisions, as JSON."""
        _ = home
        return self.model_dump(mode="json", by_alias=True)


def missing_column(path: tuple[str | int, ...], name: str, columns: Columns) -> Iterator[Mistake]:
    """The mistake of naming a column that does not reach the step."""
    if columns is not None and name not in columns:
        there = ", ".join(columns) or "none"
        what = f"Field {name!r} does not reach this step. Columns there: {there}.{suggest(name, columns)}"
        yield Mistake(path, what)
