"""`run: {kind: stats}`: count, sum, mean, min and max of fields, one row for each group of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import Row, normalised
from elspeth_dagster.nodes.base import Columns, Home, Mistake
from elspeth_dagster.nodes.batch_run import BatchResult, BatchRunConfig, missing_column

STATISTICS: Final = ("count", "sum", "mean", "min", "max")
"""In the order in which they stand behind the group's fields, as `<field>_<statistic>`."""

Number = int | float


class StatsRunConfig(BatchRunConfig):
    """Nulls and missing fields are not counted; of no number at all, sum, mean, min and max are null."""

    kind: Literal["stats"]
    fields: list[str] = Field(min_length=1, description="The fields to count and add up: numbers.")
    group_by: list[str] = Field(
        default_factory=list, description="One row for each of their values, in the order they came."
    )

    @property
    def is_passthrough_possible(self) -> bool:
        """Statistics are rows of their own."""
        return False

    def mistakes(self, columns: Columns, home: Home, *, group_by: Sequence[str]) -> Iterator[Mistake]:
        """Fields that are not there, named twice, or two columns of one name."""
        _ = home
        for key in ("fields", "group_by"):
            names: list[str] = getattr(self, key)
            for index, name in enumerate(names):
                yield from missing_column((key, index), name, columns)
                if name in names[:index]:
                    yield Mistake((key, index), f"Field {name!r} is named twice.")
        groups = _together(group_by, self.group_by)
        for index, name in enumerate(self.fields):
            for statistic in STATISTICS:
                if f"{name}_{statistic}" in groups:
                    what = f"Its {statistic} would be called {f'{name}_{statistic}'!r}, as a field of the group is."
                    yield Mistake(("fields", index), what)

    def columns_out(self, columns: Columns, *, group_by: Sequence[str]) -> Columns:
        """The group's fields, then the statistics of each field."""
        _ = columns
        made = [f"{name}_{statistic}" for name in self.fields for statistic in STATISTICS]
        return (*_together(group_by, self.group_by), *made)

    def compile(self, home: Home, *, is_passthrough: bool) -> Stats:
        """Make it ready for batches."""
        _ = home, is_passthrough
        return Stats(tuple(self.fields), tuple(self.group_by))


def _together(outer: Sequence[str], inner: Sequence[str]) -> list[str]:
    """The fields of the aggregate's own groups, then those of the groups within a batch."""
    return list(dict.fromkeys([*outer, *inner]))


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics, made ready."""

    fields: tuple[str, ...]
    group_by: tuple[str, ...]

    def admit(self, row: Row) -> Rejected | None:
        """A field of the group must be there; what is counted is a number, null, or not there."""
        for name in self.group_by:
            if name not in row:
                message = f"The row has no field {name!r} to group by."
                return Rejected("missing_field", message, facts={"field": name})
        for name in self.fields:
            value = row.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                kind = type(value).__name__
                message = f"Field {name!r} holds {kind}: statistics are made of numbers."
                return Rejected("type_mismatch", message, facts={"field": name, "actual_type": kind})
        return None

    def decide_batch(self, rows: Sequence[Row], key: Row) -> BatchResult:
        """One row for each group, in the order in which the groups came."""
        groups: dict[bytes, tuple[Row, list[Row]]] = {}
        for row in rows:
            group: Row = {name: row[name] for name in self.group_by}
            groups.setdefault(canonical_bytes(group), (group, []))[1].append(row)
        try:
            return Succeeded([self._row({**key, **group}, members) for group, members in groups.values()])
        except NotJSONError as error:
            return Rejected("not_json", error.what, facts={"field": error.field})

    def _row(self, group: Row, rows: Sequence[Row]) -> Row:
        made: dict[str, object] = dict(group)
        for name in self.fields:
            values = [value for row in rows if (value := row.get(name)) is not None]
            for statistic, value in zip(STATISTICS, _statistics(name, values), strict=True):  # type: ignore[arg-type]
                made[f"{name}_{statistic}"] = value
        return normalised(made)


def _statistics(field: str, values: Sequence[Number]) -> tuple[int, *tuple[Number | None, ...]]:
    """Count, sum, mean, min, max. Whole numbers are added exactly, fractions with one rounding (`math.fsum`)."""
    if not values:
        return 0, None, None, None, None
    try:
        total = sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)
    except OverflowError:
        raise NotJSONError("The sum is beyond the numbers that JSON has.", field=f"{field}_sum") from None
    return len(values), total, total / len(values), min(values), max(values)
