"""Parquet as source and sink: typed columns, read and written a piece at a time. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from elspeth_dagster import files
from elspeth_dagster.files.parquet_file import INSTALL, is_installed, read_parquet
from elspeth_dagster.files.parquet_writer import ParquetWriter
from elspeth_dagster.model.columns import RowReader, parse_columns
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.nodes.base import Columns, Home, Mistake
from elspeth_dagster.nodes.sink import FileSinkConfig, WrittenBy
from elspeth_dagster.nodes.source import FileSourceConfig
from elspeth_dagster.nodes.typed_columns import TypedColumns, written_column_mistakes


class ParquetSourceConfig(FileSourceConfig):
    """A Parquet file: types as it has them; structures and lists are `json`, times without a zone are UTC."""

    kind: Literal["parquet"]
    path: str = Field(
        description="Relative to the declaration's folder; `{partition}` and `{run_id}` may stand in it.",
        examples=["data/messages.parquet", "data/{partition}.parquet"],
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also that pyarrow is not there: told when the pipeline is loaded, not when it runs."""
        yield from super().mistakes(columns, home)
        yield from missing_extra()

    def records(self, path: Path) -> Iterator[files.RawRecord]:
        """Every record of the file, bad ones too, in order."""
        return read_parquet(path, columns=self.parsed_columns, extra=self.extra_columns)

    def reader(self) -> RowReader:
        """Values have a table's types: they must fit."""
        return RowReader(self.parsed_columns, extra=self.extra_columns, from_text=False, from_table=True)


class ParquetSinkConfig(FileSinkConfig):
    """A Parquet file of typed columns, whole or not there."""

    kind: Literal["parquet"]
    path: str = Field(
        description="Relative to the declaration's folder; `{partition}` and `{run_id}` may stand in it.",
        examples=["out/judged.parquet", "out/{partition}.parquet"],
    )
    columns: TypedColumns = None

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Also types that do not exist, columns that are like known ones, and that pyarrow is not there."""
        yield from super().mistakes(columns, home)
        yield from written_column_mistakes(self.columns, columns)
        yield from missing_extra()

    def needs_types(self) -> bool:
        """Unless they are declared."""
        return self.columns is None

    def written_types(self) -> dict[str, str]:
        """Those that are declared."""
        return dict(self.columns or {})

    def writer(self, by: WrittenBy, columns: Mapping[str, ColumnType | None]) -> files.RowWriter:
        """A writer of the declared columns, or of all that the rows have."""
        path = self.file(by.home, partition=by.partition, run_id=by.run_id)
        if self.columns is not None:
            columns = {column.name: column.type for column in parse_columns(self.columns)}
        return ParquetWriter(path, {name: kind or ColumnType.JSON for name, kind in columns.items()})


def missing_extra() -> Iterator[Mistake]:
    """What to install, where Parquet cannot be read or written."""
    if not is_installed():
        yield Mistake(("kind",), f"Parquet files need pyarrow, which is not installed: {INSTALL}")
