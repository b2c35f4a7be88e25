"""`map`: rename, drop and compute fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from elspeth_dagster.errors import ExpressionError, NotJSONError
from elspeth_dagster.expressions import Expression, expression_mistakes
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home, Mistake, StepConfig, known


class MapConfig(StepConfig):
    """Renames first, then drops, then computes `set` in order; each expression reads the row as it came."""

    kind: Literal["map"]
    rename: dict[str, str] = Field(default_factory=dict, description="Old name: new name.")
    drop: list[str] = Field(default_factory=list, description="Fields to leave out.")
    set: dict[str, str] = Field(default_factory=dict, description="Field: the expression that computes it.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Fields that are not there, two fields of one name, expressions that are wrong."""
        _ = home
        for field, expression in self.set.items():
            for what in expression_mistakes(expression, fields=known(columns)):
                yield Mistake(("set", field), what)
        if columns is None:
            return
        for old in self.rename:
            if old not in columns:
                yield Mistake(("rename", old), _missing(old, columns))
        for index, name in enumerate(self.drop):
            if name not in columns:
                yield Mistake(("drop", index), _missing(name, columns))
        kept = [name for name in columns if name not in self.rename]
        for old, new in self.rename.items():
            if new in kept:
                yield Mistake(("rename", old), f"Field {new!r} is there already; rename or drop it too.")
            kept.append(new)

    def columns_out(self, columns: Columns) -> Columns:
        """Renamed, without the dropped, with the computed."""
        if columns is None:
            return None
        kept = [self.rename.get(name, name) for name in columns if name not in self.drop]
        return tuple(dict.fromkeys([*kept, *self.set]))

    def compile(self, home: Home) -> _Mapper:
        """Make it ready for rows."""
        _ = home
        computed = {
            field: Expression.compile(source, where=f"set.{field}") for field, source in self.set.items()
        }
        return _Mapper(self.rename, frozenset(self.drop), computed)


def _missing(name: str, columns: tuple[str, ...]) -> str:
    return f"Field {name!r} does not reach this step. Columns there: {', '.join(columns)}.{suggest(name, columns)}"


@dataclass(frozen=True, slots=True)
class _Mapper:
    rename: dict[str, str]
    drop: frozenset[str]
    computed: dict[str, Expression]

    def decide(self, row: Row) -> Decision:
        made: Row = {}
        for name, value in row.items():
            if name not in self.drop:
                made[self.rename.get(name, name)] = value
        for field, expression in self.computed.items():
            try:
                made[field] = expression.value(row)
            except (ExpressionError, NotJSONError) as error:
                return Rejected("expression_failed", str(error.what), facts={"field": field})
        return Emitted(made)
