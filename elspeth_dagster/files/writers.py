"""Writing rows to CSV and JSON Lines files, whole or not at all, in memory that does not grow with the rows.

CSV: null is an empty cell, true and false are words, a float is its shortest exact text, a nested value is compact JSON
in the cell. Cells are written as they are: one that a spreadsheet would take for a formula (``=1+1``) is not
disarmed, for that would change the data. JSON Lines: one compact object a line, keys in the row's order.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files.atomic import AtomicFile
from elspeth_dagster.model.row import JSON, Row

BATCH_CHARS = 64 * 1024
"""Text is encoded and hashed in pieces of about this size: per row it would cost more than the row."""

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a sink made, durable under its name: its place, its digest, its size and its rows.

    ``path`` is None for what is no file. ``uri`` holds no user's name and no password.
    """

    uri: str
    sha256: bytes
    size_bytes: int
    row_count: int
    path: Path | None = None

    @classmethod
    def of_file(cls, path: Path, sha256: bytes, size_bytes: int, row_count: int) -> Artifact:
        """That of a file."""
        return cls(path.as_uri(), sha256, size_bytes, row_count, path)

    @property
    def name(self) -> str:
        """What people call it: the file's name, or the address without what comes behind it."""
        return self.uri.partition("?")[0] if self.path is None else self.path.name


class RowWriter(Protocol):
    """Takes rows one by one; ``finish`` makes the file appear, ``abort`` leaves the target as it was."""

    def write(self, row: Row) -> None:
        """Append one row."""
        ...

    def finish(self) -> Artifact:
        """Make the file durable under its name."""
        ...

    def abort(self) -> None:
        """Forget everything written. After ``finish``, nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(
    kind: Literal["csv", "jsonl"],
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    extra: Literal["refuse", "drop"] = "refuse",
) -> RowWriter:
    """A writer for ``path``. Leaving it as a context without ``finish`` aborts.

    ``columns`` are the fields to write, in this order; one that a row lacks is an empty cell, or absent in JSON Lines.
    Without them CSV takes the first row's. A field that is not among them is an error, or left out (``extra="drop"``).

    Raises:
        SinkError: the target cannot be written.
    """
    if kind == "csv":
        return CsvWriter(path, columns=columns, extra=extra)
    return JsonlWriter(path, columns=columns, extra=extra)


class _FileWriter:
    """What both formats share: rows become text, text becomes pieces of a file."""

    def __init__(self, path: Path, columns: Sequence[str] | None, extra: Literal["refuse", "drop"]) -> None:
        self._file = AtomicFile(path)
        self._columns = None if columns is None else tuple(columns)
        self._names = frozenset(self._columns or ())
        self._drop = extra == "drop"
        self._parts: list[str] = []
        self._chars = 0
        self._row_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, row: Row) -> None:
        """Append one row.

        Raises:
            SinkError: it has a field that the file has no column for, a value that the format cannot hold, or the disk
                is full. The writer is then aborted.
        """
        try:
            self._append(row)
        except (ValueError, TypeError, RecursionError, csv.Error) as error:
            self.abort()
            what = f"Row {self._row_count} has a value that a file cannot hold: {error}"
            raise SinkError(what[:200], where=str(self._file.path), hint="rows must be plain JSON") from error
        except SinkError:
            self.abort()
            raise
        self._row_count += 1

    def finish(self) -> Artifact:
        """Make the file durable under its name.

        Raises:
            SinkError: the disk is full, or the folder went away. The old file is then untouched.
        """
        self._flush()
        self._file.commit()
        return Artifact.of_file(self._file.path, self._file.sha256, self._file.size_bytes, self._row_count)

    def abort(self) -> None:
        """Forget everything written. After ``finish``, nothing."""
        self._file.abort()

    def _append(self, row: Row) -> None:
        raise NotImplementedError

    def _emit(self, text: str) -> None:
        self._parts.append(text)
        self._chars += len(text)
        if self._chars >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        try:
            piece = "".join(self._parts).encode()
        except UnicodeEncodeError as error:
            self.abort()
            what = f"A row, at most the row {self._row_count}, has text that UTF-8 cannot hold."
            raise SinkError(what, where=str(self._file.path), hint="rows must be plain JSON") from error
        self._file.write(piece)
        self._parts.clear()
        self._chars = 0

    def _refuse_others(self, row: Row) -> None:
        others = [name for name in row if name not in self._names]
        if others:
            what = f"Row {self._row_count} has the field {others[0]!r}, which the file has no column for."
            raise SinkError(what, where=str(self._file.path), hint="declare `columns:` on the sink")


class CsvWriter(_FileWriter):
    """Rows to CSV: commas, double quotes where needed, lines that end in a line feed, UTF-8, always a header."""

    def __init__(
        self, path: Path, *, columns: Sequence[str] | None = None, extra: Literal["refuse", "drop"] = "refuse"
    ) -> None:
        super().__init__(path, columns, extra)
        # csv quotes what looks like its line end: a lone carriage return must be quoted too, or it would end a line.
        self._csv = csv.writer(_LineFeeds(self._emit), lineterminator="\r\n")
        if self._columns is not None:
            self._csv.writerow(self._columns)

    def _append(self, row: Row) -> None:
        columns = self._columns
        if columns is None:
            columns = self._columns = tuple(row)
            self._names = frozenset(columns)
            self._csv.writerow(columns)
        if not columns:
            what = f"Row {self._row_count} cannot be written: a CSV file without columns holds no rows."
            raise SinkError(
                what, where=str(self._file.path), hint="declare `columns:` on the sink, or use jsonl"
            )
        if not self._drop and not row.keys() <= self._names:
            self._refuse_others(row)
        values = [row.get(name) for name in columns]
        self._csv.writerow([value if type(value) is str else _cell(value) for value in values])


class JsonlWriter(_FileWriter):
    """Rows to JSON Lines: one compact object a line, UTF-8, keys in the row's order (or that of ``columns``)."""

    def __init__(
        self, path: Path, *, columns: Sequence[str] | None = None, extra: Literal["refuse", "drop"] = "refuse"
    ) -> None:
        super().__init__(path, columns, extra)

    def _append(self, row: Row) -> None:
        if self._columns is not None:
            if not self._drop and not row.keys() <= self._names:
                self._refuse_others(row)
            row = {name: row[name] for name in self._columns if name in row}
        self._emit(_JSON.encode(row) + "\n")


class _LineFeeds:
    """What ``csv`` writes to: takes its line end off and puts ours on."""

    __slots__ = ("_emit",)

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit

    def write(self, line: str) -> None:
        self._emit(line[:-2] + "\n")


def _cell(value: JSON) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return value if isinstance(value, str) else _JSON.encode(value)
