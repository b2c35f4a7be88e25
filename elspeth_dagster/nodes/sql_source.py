"""A table, or one SELECT, as a source: rows in a declared order, streamed, read and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field

from elspeth_dagster import files
from elspeth_dagster.errors import SourceError
from elspeth_dagster.files.sql_text import has_partition, query_mistakes
from elspeth_dagster.model.columns import RowReader
from elspeth_dagster.nodes.base import Columns, Home, Mistake
from elspeth_dagster.nodes.database import DatabaseConfig
from elspeth_dagster.nodes.source import Reading, SourceConfig


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


class SqlSourceConfig(DatabaseConfig, SourceConfig):
    """A table or a query of a database that SQLAlchemy knows. Rows are numbered by `order_by`."""

    operational: ClassVar[frozenset[str]] = SourceConfig.operational | {"allow_outside"}

    kind: Literal["sql"]
    table: str | None = Field(
        default=None,
        min_length=1,
        description="The table or view to read, as it is named.",
        examples=["messages"],
    )
    query: str | None = Field(
        default=None,
        description="Or one SELECT. `{partition}` in it is the partition's key, bound as a parameter: do not quote it.",
        examples=["SELECT id, text FROM messages WHERE day = {partition}"],
    )
    order_by: Annotated[
        list[str], BeforeValidator(_one_or_several, json_schema_input_type=str | list[str])
    ] = Field(
        min_length=1,
        description="The column or columns that number the rows; together they must tell every two rows apart.",
        examples=["id", ["day", "id"]],
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also no table or query or both, and a query that is not one SELECT."""
        yield from super().mistakes(columns, home)
        if (self.table is None) == (self.query is None):
            what = "Say what to read by one of `table` and `query`" + (
                "." if self.table is None else ": there are both."
            )
            yield Mistake(() if self.table is None else ("query",), what)
        if self.query is not None:
            yield from (Mistake(("query",), what) for what in query_mistakes(self.query))
        for index, name in enumerate(self.order_by):
            if name in self.order_by[:index]:
                yield Mistake(("order_by", index), f"Column {name!r} is named twice.")

    def takes_partition(self) -> bool:
        """Whether the partition's key decides what is read."""
        return self.query is not None and has_partition(self.query)

    def where(self) -> str:
        """The table, or that it is a query."""
        return "a query" if self.table is None else f"table {self.table!r}"

    def reading(self, home: Home, *, partition: str | None, run_id: str | None) -> Reading:
        """The rows of this run.

        Raises:
            SourceError: the database cannot be named.
        """
        _ = run_id
        address = self.address(home, error=SourceError)
        noun = "query's result" if self.table is None else "table"
        uri = address.database if self.table is None else f"{address.database}?table={quote(self.table)}"
        where = f"{self.where()} in {address.database}"
        return Reading(where, self._records(home, partition), uri=uri, noun=noun)

    def reader(self) -> RowReader:
        """Values have a table's types: they must fit."""
        return RowReader(self.parsed_columns, extra=self.extra_columns, from_text=False, from_table=True)

    def _records(self, home: Home, partition: str | None) -> Iterator[files.RawRecord]:
        from elspeth_dagster.files.sql_reader import Asked, read_sql  # noqa: PLC0415 - loads SQLAlchemy

        asked = Asked(tuple(self.order_by), self.query, self.table, self.schema_, partition)
        address = self.address(home, error=SourceError)
        return read_sql(address, asked, columns=self.parsed_columns, extra=self.extra_columns)
