"""`expand`: one row for each element of a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake, StepConfig

ITEM_INDEX: Final = "item_index"
"""Where each row says which element it has, from 0."""

ITEMS_MAX: Final = 10_000
"""Of one row: they become durable together. More belong into a source of their own."""


class ExpandConfig(StepConfig):
    """Each row carries its element in the place of the list. An empty list makes no row: its own ends `expanded`."""

    kind: Literal["expand"]
    field: str = Field(min_length=1, description="The field that holds the list; then, its element.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """A field that is not there; an index that would overwrite another."""
        yield from super().mistakes(columns, home)
        if columns is None:
            return
        if self.field not in columns:
            there = ", ".join(columns) or "none"
            what = f"Field {self.field!r} does not reach this step. Columns there: {there}."
            yield Mistake(("field",), f"{what}{suggest(self.field, columns)}")
        if ITEM_INDEX in columns:
            yield Mistake((), f"Field {ITEM_INDEX!r} is there already: rename it with a `map` first.")

    def columns_out(self, columns: Columns) -> Columns:
        """With the index."""
        return None if columns is None else tuple(dict.fromkeys([*columns, ITEM_INDEX]))

    def items(self, row: Row) -> list[Row] | Rejected:
        """The rows that ``row`` becomes, in the list's order."""
        found = row.get(self.field)
        facts = {"field": self.field}
        if self.field not in row:
            return Rejected("missing_field", f"The row has no field {self.field!r} to expand.", facts=facts)
        if not isinstance(found, list):
            kind = type(found).__name__
            what = f"Field {self.field!r} is no list: it holds {_kinds.get(kind, kind)}."
            return Rejected("not_a_list", what, facts={**facts, "type": kind})
        if ITEM_INDEX in row:
            return Rejected(
                "field_exists", f"The row has a field {ITEM_INDEX!r} already.", facts={"field": ITEM_INDEX}
            )
        if len(found) > ITEMS_MAX:
            what = f"Field {self.field!r} has {len(found):,} elements; at most {ITEMS_MAX:,} are expanded."
            return Rejected("too_many_items", what, facts={**facts, "items": len(found)})
        return [{**row, self.field: item, ITEM_INDEX: index} for index, item in enumerate(found)]


_kinds: Final = {
    "NoneType": "null",
    "str": "text",
    "bool": "a truth value",
    "int": "a number",
    "float": "a number",
    "dict": "an object",
}
