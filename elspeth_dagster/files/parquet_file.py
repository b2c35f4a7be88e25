"""Reading Parquet: typed records, some hundred at a time, in memory that grows with neither file nor row group.

pyarrow is an extra, and is imported when a file is opened. What a file holds and a row cannot (bytes, NaN, durations)
is that record's violation; a file that is no Parquet, or is damaged, is a ``SourceError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files.header import check_header
from elspeth_dagster.files.opening import reading_bytes
from elspeth_dagster.files.record import RawRecord
from elspeth_dagster.model.columns import Column, ExtraColumns, Violation

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS: Final = 512
"""Records that are made at a time: each is some Python objects."""

BUFFER_BYTES: Final = 1024 * 1024
"""A column is read through a buffer of this size, so that one huge row group is never whole in memory."""

INSTALL: Final = "pip install 'elspeth_dagster[parquet]'"


def is_installed() -> bool:
    """Whether Parquet can be read and written here; looks, and imports nothing."""
    try:
        return find_spec("pyarrow") is not None
    except ValueError:  # a module that somebody took out
        return False


def read_parquet(
    path: Path, *, columns: Sequence[Column] | None = None, extra: ExtraColumns = "keep"
) -> Iterator[RawRecord]:
    """The records of a Parquet file. Nothing is opened before the first is asked for.

    ``columns`` are checked against the file's before any row. A record's ``line`` is its number, from 1.

    Raises:
        SourceError: the file cannot be read, is no Parquet, or lacks a declared column.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError:
        what = "Parquet files need pyarrow, which is not installed."
        raise SourceError(what, where=str(path), hint=INSTALL) from None
    with reading_bytes(path) as file:
        try:
            opened = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
            names = _names(opened.schema_arrow, path)
            if columns is not None:
                check_header(names, columns, str(path), extra=extra, called="file")
            wanted = _wanted(names, columns, extra)
            batches = opened.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
            yield from _records(batches, size_bytes=path.stat().st_size, rows=opened.metadata.num_rows)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the format's
            what = f"The file is no Parquet, or damaged: {str(error).splitlines()[0][:200]}"
            hint = "write it again, or set the source's `kind` to what it is"
            raise SourceError(what, where=str(path), hint=hint) from error


def _names(schema: pa.Schema, path: Path) -> list[str]:
    names = list(schema.names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        what = f"The file names its column {twice!r} more than once."
        raise SourceError(what, where=str(path), hint="give every column a name of its own")
    return names


def _wanted(names: Sequence[str], columns: Sequence[Column] | None, extra: ExtraColumns) -> list[str] | None:
    """The columns to read, None for all: what would be dropped is not even read."""
    if columns is None or extra != "drop":
        return None
    declared = {column.name for column in columns}
    wanted = [name for name in names if name in declared]
    # To pyarrow a dot leads into a structure, and no columns are no records.
    return wanted if wanted and not any("." in name for name in names) else None


def _records(batches: Iterator[pa.RecordBatch], *, size_bytes: int, rows: int) -> Iterator[RawRecord]:
    index = 0
    for batch in batches:
        for fields, flaws in _fields_of(_in_microseconds(batch)):
            content = {**fields, **{str(flaw.field): flaw.message for flaw in flaws}} if flaws else fields
            yield RawRecord(
                index, fields, content, flaws, index + 1, size_bytes * (index + 1) // max(rows, 1)
            )
            index += 1


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Finer than Python's clock is cut."""
    import pyarrow as pa  # noqa: PLC0415 - it is there by now

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            exact = batch.column(place).cast(pa.timestamp("us", tz=field.type.tz), safe=False)
            batch = batch.set_column(place, pa.field(field.name, exact.type), exact)
    return batch


def _fields_of(batch: pa.RecordBatch) -> Iterator[tuple[dict[str, Any], tuple[Violation, ...]]]:
    """Each record's fields; hopeful first: only a batch that holds an unreadable value is read cell by cell."""
    try:
        records = batch.to_pylist()
    except (UnicodeDecodeError, OverflowError, ValueError):
        for number in range(batch.num_rows):
            yield _cell_by_cell(batch, number)
    else:
        for record in records:
            yield record, ()


def _cell_by_cell(batch: pa.RecordBatch, number: int) -> tuple[dict[str, Any], tuple[Violation, ...]]:
    fields: dict[str, Any] = {}
    flaws: list[Violation] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            fields[name] = column[number].as_py()
        except UnicodeDecodeError:
            flaws.append(Violation(name, "UTF-8 text", "bytes", "not_utf8", "The text is not UTF-8."))
        except (OverflowError, ValueError):  # a time beyond the year 9999
            message = f"The {column.type} is beyond what a row can hold."
            flaws.append(Violation(name, "a value in range", str(column.type), "wrong_type", message))
    return fields, tuple(flaws)
