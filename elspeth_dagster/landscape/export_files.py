"""The files of an export: JSON lines or Parquet, written as records come, hashed as they are written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import sqlalchemy as sa

from elspeth_dagster.errors import ExportError
from elspeth_dagster.landscape.export_records import Record, column_names

Format: TypeAlias = Literal["jsonl", "parquet"]
CHUNK_BYTES: Final = 1024 * 1024
GROUP_ROWS: Final = 10_000  # of a Parquet file: large enough to compress, small enough for memory
GROUP_BYTES: Final = 8 * 1024 * 1024  # of text in one group, whatever the number of records


class WriteTable(Protocol):
    """Writes the records of one table into one file; returns how many there were."""

    def __call__(self, path: Path, table: sa.Table, records: Iterable[Record], /) -> int:
        """Write, and sync to disk."""
        ...


def writer_of(form: Format) -> WriteTable:
    """What writes this format.

    Raises:
        ExportError: Parquet is asked for, and pyarrow is not installed.
    """
    if form == "jsonl":
        return write_jsonl
    try:
        import pyarrow as pa  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ExportError(
            "Parquet files need pyarrow, which is not installed.",
            where="--format parquet",
            hint="pip install 'elspeth_dagster[parquet]', or use --format jsonl",
        ) from error
    return write_parquet


def write_jsonl(path: Path, _table: sa.Table, records: Iterable[Record]) -> int:
    """One JSON object a line."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def write_parquet(path: Path, table: sa.Table, records: Iterable[Record]) -> int:
    """Columns as the table has them; JSON and bodies are JSON text."""
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, getattr(pa, _arrow_type(table, name))()) for name in column_names(table)])
    count = 0
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(_flat(table, record) for record in records):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)
        file.flush()
        os.fsync(file.fileno())
    return count


def _arrow_type(table: sa.Table, name: str) -> str:
    column = table.c.get(name)
    kind = None if column is None else column.type
    if isinstance(kind, sa.Boolean):
        return "bool_"
    if isinstance(kind, sa.Integer):
        return "int64"
    return "float64" if isinstance(kind, sa.Float) else "string"


def _flat(table: sa.Table, record: Record) -> dict[str, Any]:
    """The record with everything that is JSON as text; plain columns stay as they are."""
    return {
        name: value
        if value is None or (name in table.c and not name.endswith("_json") and name != "body")
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in record.items()
        if name != "encoding"
    } | ({"encoding": record["encoding"]} if "encoding" in record else {})


def _groups(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size_bytes = 0
    for record in records:
        group.append(record)
        size_bytes += sum(len(value) for value in record.values() if isinstance(value, str))
        if len(group) == GROUP_ROWS or size_bytes >= GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def sha256_of(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
