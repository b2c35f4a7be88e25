"""Writing rows to a Parquet file, whole or not at all: typed columns, a row group at a time.

A decimal is its exact digits and JSON is compact text, both as strings: neither has one scale or shape for all rows.
The same rows give the same bytes with the same pyarrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files.atomic import AtomicFile
from elspeth_dagster.files.parquet_file import INSTALL
from elspeth_dagster.files.typed import typed
from elspeth_dagster.files.writers import Artifact
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import Row

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS: Final = 10_000
"""Of one row group: large enough to compress, small enough for memory."""

GROUP_CHARS: Final = 8 * 1024 * 1024
"""Of text in one group, whatever the number of rows."""


class ParquetWriter:
    """Takes rows one by one; fields that are no column are left out.

    Raises:
        SinkError: from any method, when the target cannot be written or a value does not fit its column.
    """

    def __init__(self, path: Path, columns: Mapping[str, ColumnType]) -> None:
        try:
            import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, and slow to import
        except ModuleNotFoundError:
            what = "Parquet files need pyarrow, which is not installed."
            raise SinkError(what, where=str(path), hint=INSTALL) from None
        self._columns = dict(columns)
        self._schema = _schema(self._columns)
        self._file = AtomicFile(path)
        self._parquet = pq.ParquetWriter(_Target(self._file), self._schema, compression="zstd")
        self._values: dict[str, list[object]] = {name: [] for name in columns}
        self._held_rows = self._held_chars = self._row_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, row: Row) -> None:
        """Append one row."""
        for name, kind in self._columns.items():
            try:
                value = typed(row.get(name), kind)
            except ValueError as error:
                self.abort()
                what = f"Row {self._row_count} cannot be written: {name!r} holds {error}."
                hint = f"declare its type in the sink's `columns`, as in `{name}: json`"
                raise SinkError(what, where=str(self._file.path), hint=hint) from None
            self._values[name].append(
                str(value) if kind is ColumnType.DECIMAL and value is not None else value
            )
            self._held_chars += len(value) if isinstance(value, str) else 0
        self._row_count += 1
        self._held_rows += 1
        if self._held_rows == GROUP_ROWS or self._held_chars >= GROUP_CHARS:
            self._write_group()

    def finish(self) -> Artifact:
        """Make the file durable under its name."""
        self._write_group()
        self._parquet.close()
        self._file.commit()
        return Artifact.of_file(self._file.path, self._file.sha256, self._file.size_bytes, self._row_count)

    def abort(self) -> None:
        """Forget everything written. After ``finish``, nothing."""
        self._file.abort()

    def _write_group(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - it is there by now

        if not self._held_rows:
            return
        try:
            arrays = [
                pa.array(self._values[field.name], type=field.type) for field in self._schema
            ]  # text that UTF-8 cannot hold is refused here
            self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        except (pa.ArrowException, ValueError) as error:
            self.abort()
            what = (
                f"Rows up to {self._row_count} have a value that Parquet cannot hold: {type(error).__name__}."
            )
            raise SinkError(what, where=str(self._file.path), hint="rows must be plain JSON") from error
        for values in self._values.values():
            values.clear()
        self._held_rows = self._held_chars = 0


class _Target:
    """The atomic file as pyarrow wants one. Once it is aborted, what pyarrow still has to say is not kept."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        piece = bytes(data)
        if self._file.is_open:
            self._file.write(piece)
        return len(piece)

    def tell(self) -> int:
        return self._file.size_bytes

    def flush(self) -> None:
        """Nothing: the file is made durable as a whole."""

    def close(self) -> None:
        """Nothing: committing or aborting closes it."""


def _schema(columns: Mapping[str, ColumnType]) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - it is there by now

    types = {
        ColumnType.INT: pa.int64(),
        ColumnType.FLOAT: pa.float64(),
        ColumnType.BOOL: pa.bool_(),
        ColumnType.DATE: pa.date32(),
        ColumnType.DATETIME: pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([(name, types.get(kind, pa.string())) for name, kind in columns.items()])
