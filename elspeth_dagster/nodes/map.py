"""`map`: rename, drop and compute fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from elspeth_dagster import expressions
from elspeth_dagster.errors import ExpressionError, NotJSONError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import (
    Columns,
    Decision,
    Emitted,
    Home,
    Mistake,
    StepConfig,
    known,
    mistakes_in_text,
)


class MapConfig(StepConfig):
    """Renames and drops, by the names that the row came with; then computes `set`, from the row as it came."""

    kind: Literal["map"]
    rename: dict[str, str] = Field(default_factory=dict, description="Old name: new name.")
    drop: list[str] = Field(default_factory=list, description="Fields to leave out.")
    set: dict[str, str] = Field(default_factory=dict, description="Field: the expression that computes it.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Fields that are not there, two fields of one name, expressions that are wrong."""
        _ = home
        yield from self._rename_mistakes(columns)
        for index, name in enumerate(self.drop):
            if columns is not None and name not in columns:
                yield Mistake(("drop", index), _missing(name, columns))
        for field, expression in self.set.items():
            if not _is_name(field):
                yield Mistake(("set", field), _bad_name(field))
            yield from mistakes_in_text(
                ("set", field), expressions.expression_mistakes(expression, fields=known(columns))
            )

    def _rename_mistakes(self, columns: Columns) -> Iterator[Mistake]:
        untouched = {name for name in columns or () if name not in self.rename and name not in self.drop}
        given: dict[str, str] = {}
        for old, new in self.rename.items():
            path = ("rename", old)
            if columns is not None and old not in columns:
                yield Mistake(path, _missing(old, columns))
            if old in self.drop:
                yield Mistake(path, f"Field {old!r} is dropped too: choose one.")
            if not _is_name(new):
                yield Mistake(path, _bad_name(new))
            if new in untouched:
                yield Mistake(path, f"Field {new!r} is there already; rename or drop it too.")
            if new in given:
                yield Mistake(path, f"Field {given[new]!r} is renamed to {new!r} too: one would be lost.")
            given[new] = old

    def columns_out(self, columns: Columns) -> Columns:
        """Renamed, without the dropped, with the computed."""
        if columns is None:
            return None
        kept = [self.rename.get(name, name) for name in columns if name not in self.drop]
        return tuple(dict.fromkeys([*kept, *self.rename.values(), *self.set]))

    def compile(self, home: Home) -> _Mapper:
        """Make it ready for rows."""
        _ = home
        computed = {
            field: expressions.Expression.compile(source, where=f"set.{field}")
            for field, source in self.set.items()
        }
        return _Mapper(self.rename, frozenset(self.drop), computed)


def _missing(name: str, columns: tuple[str, ...]) -> str:
    there = ", ".join(columns) or "none"
    return f"Field {name!r} does not reach this step. Columns there: {there}.{suggest(name, columns)}"


def _is_name(name: str) -> bool:
    return bool(name) and name == name.strip()


def _bad_name(name: str) -> str:
    return f"A field's name must be text without blanks around it, not {name!r}."


@dataclass(frozen=True, slots=True)
class _Mapper:
    rename: Mapping[str, str]
    drop: frozenset[str]
    computed: Mapping[str, expressions.Expression]

    def decide(self, row: Row) -> Decision:
        made: Row = {}
        for name, value in row.items():
            if name in self.drop:
                continue
            new = self.rename.get(name, name)
            if new in made:  # a column that is kept without being declared
                return _rejected("field_exists", new, f"Two fields would be called {new!r}.")
            made[new] = value
        for old in self.rename:
            if old not in row:
                return _rejected("missing_field", old, f"The row has no field {old!r} to rename.")
        for field, expression in self.computed.items():
            try:
                made[field] = expression.value(row)
            except (ExpressionError, NotJSONError) as error:
                return _rejected("expression_failed", field, error.what)
        return Emitted(made)


def _rejected(code: str, field: str, message: str) -> Rejected:
    return Rejected(code, message, facts={"field": field})
