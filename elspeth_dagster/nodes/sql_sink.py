"""A table as a sink: the run's rows appear together, each with whose it is; earlier ones go or stay, as declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from elspeth_dagster import files
from elspeth_dagster.errors import ElspethError, SinkError
from elspeth_dagster.model.columns import parse_columns
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.nodes.base import Columns, Home, Mistake
from elspeth_dagster.nodes.database import DatabaseConfig
from elspeth_dagster.nodes.sink import SinkConfig, WrittenBy
from elspeth_dagster.nodes.typed_columns import TypedColumns, written_column_mistakes

if TYPE_CHECKING:
    from elspeth_dagster.tables.address import Address
    from elspeth_dagster.tables.uri import TableUri


class SqlSinkConfig(DatabaseConfig, SinkConfig):
    """A table of a database that SQLAlchemy knows, made if it is not there. A run's rows appear in one transaction."""

    # Where and how rows are written decides nothing about them: it can be mended before a resume.
    operational: ClassVar[frozenset[str]] = SinkConfig.operational | {
        "url", "url_env", "schema_", "allow_outside", "table", "mode", "columns",
    }  # fmt: skip

    kind: Literal["sql"]
    table: str = Field(min_length=1, description="The table, as it is named.", examples=["judged_messages"])
    mode: Literal["replace", "append"] = Field(
        default="replace",
        examples=["append"],
        description="What becomes of the rows that this sink wrote before: `replace` takes those of the same partition "
        "away, `append` keeps them. Rows of others stay in any case.",
    )
    columns: TypedColumns = None

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also types that do not exist, and columns that are like known ones."""
        yield from super().mistakes(columns, home)
        yield from written_column_mistakes(self.columns, columns)

    def needs_types(self) -> bool:
        """Unless they are declared."""
        return self.columns is None

    def written_types(self) -> dict[str, str]:
        """Those that are declared."""
        return dict(self.columns or {})

    def where(self) -> str:
        """The table."""
        return f"table {self.table!r}"

    def writer(self, by: WrittenBy, columns: Mapping[str, ColumnType | None]) -> files.RowWriter:
        """A writer of the declared columns, or of all that the rows have."""
        from elspeth_dagster.files.sql_writer import SqlWriter  # noqa: PLC0415 - loads SQLAlchemy

        if self.columns is not None:
            columns = {column.name: column.type for column in parse_columns(self.columns)}
        types = {name: kind or ColumnType.JSON for name, kind in columns.items()}
        address = self.address(by.home, error=SinkError)
        self._refuse_landscape(address, by.landscape)
        return SqlWriter(address, self._uri(address, by), run_id=by.run_id, columns=types)

    def written_now(self, artifact: files.Artifact, by: WrittenBy) -> bytes | None:
        """The digest of the sink's rows as they are in the table."""
        from elspeth_dagster.tables.digest import content_of  # noqa: PLC0415 - loads SQLAlchemy

        _ = artifact
        try:
            address = self.address(by.home, error=SinkError)
            with address.reading() as connection:
                return content_of(connection, self._uri(address, by)).sha256
        except ElspethError:
            return None

    def _uri(self, address: Address, by: WrittenBy) -> TableUri:
        from elspeth_dagster.tables.uri import TableUri  # noqa: PLC0415 - only a run needs it

        return TableUri(
            address.database,
            self.schema_,
            self.table,
            f"{by.pipeline}/{by.node_id}",
            by.partition,
            by.run_id if self.mode == "append" else None,
        )

    def _refuse_landscape(self, address: Address, landscape: Path | None) -> None:
        """SQLite has one writer at a time: the sink's transaction would hold up the record of what it does."""
        if landscape is None or address.url.get_backend_name() != "sqlite":
            return
        path = str(address.url.database)
        if Path(path) == landscape or (
            Path(path).exists() and landscape.exists() and Path(path).samefile(landscape)
        ):
            hint = "name a database of its own"
            raise SinkError("The sink's database is the Landscape itself.", where=address.database, hint=hint)
