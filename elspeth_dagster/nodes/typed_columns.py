"""The columns that a typed sink is told to write, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from elspeth_dagster.model.columns import parse_columns
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Mistake
from elspeth_dagster.nodes.sink import ERROR_FIELD

TypedColumns = Annotated[
    dict[str, str] | None,
    Field(
        min_length=1,
        description="The columns to write and their types, in order; others are left out. Without it: all that the "
        "rows have, with the types that all of them fit.",
        examples=[{"id": "int", "mood": "str", "amount": "decimal"}],
    ),
]


def written_column_mistakes(declared: Mapping[str, str] | None, columns: Columns) -> Iterator[Mistake]:
    """Types that do not exist, and names that are like known columns: a slip of the pen would be an empty column."""
    for name, type_name in (declared or {}).items():
        try:
            parse_columns({name: type_name})
        except ValueError as error:
            yield Mistake(("columns", name), str(error))
        if columns is None or name in columns or name == ERROR_FIELD:
            continue
        if meant := suggest(name, columns):
            what = f"Column {name!r} does not reach this sink.{meant} Columns there: {', '.join(columns)}."
            yield Mistake(("columns", name), what)
