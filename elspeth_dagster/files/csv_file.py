"""Reading CSV: one record at a time, whatever the file holds, in bounded memory.

A file that cannot be read at all is a ``SourceError``; anything that is wrong with one record is that record's
violation, and the records after it are read as if it were not there. Quotes are taken strictly: a record whose quoting
is wrong (text after a closing quote, a quote that is never closed) is its first line only, and reading goes on with
its second line. A guess could swallow the rest of the file into one cell. Blank lines are passed over. Types are
left to the declared columns; an empty cell and an empty quoted cell are the same.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files.header import check_header, header_names
from elspeth_dagster.files.lines import Lines, RecordTooLongError
from elspeth_dagster.files.opening import reading_text
from elspeth_dagster.files.record import Bounds, RawRecord, recordable
from elspeth_dagster.model.columns import Column, ExtraColumns, Violation
from elspeth_dagster.model.json_values import plain_text
from elspeth_dagster.model.refused import Refused, ViolationCode
from elspeth_dagster.model.row import JSON

REREAD_CHARS_MAX = 256 * 1024 * 1024
"""Broken quoting makes lines be read again. Beyond this the file is not CSV, and reading on would take for ever."""

NAME_CHARS_MAX = 80
"""How much of a column's name a violation's message shows."""

_CSV_FIELD_CHARS_MAX = 2**31 - 1
"""``csv`` has one limit for the whole process. Ours is per record, in ``Lines``; this one must only not be the smaller.
It is always set to the same value, so readers in several threads cannot take it from each other."""

_PROGRESS_RECORDS = 256
"""How often the place in the file is asked for: each time is a system call."""


def read_csv(
    path: Path,
    *,
    encoding: str = "utf-8-sig",
    delimiter: str = ",",
    bounds: Bounds | None = None,
    columns: Sequence[Column] | None = None,
    extra: ExtraColumns = "keep",
) -> Iterator[RawRecord]:
    """The records of a CSV file whose first line names its columns. Nothing is opened before the first is asked for.

    ``columns`` are checked against the header before any row. UTF-8 is read with and without a byte order mark.

    Raises:
        SourceError: the file cannot be read, has no usable header, or lacks a declared column.
    """
    limits = bounds or Bounds()
    with reading_text(path, encoding) as file:
        lines = Lines(file, chars_max=limits.record_chars_max)
        reader = _parser(lines, delimiter, path)
        header = _header(reader, lines, path)
        if columns is not None:
            check_header(header, columns, str(path), extra=extra)
        yield from _Records(file, lines, header, limits, path).read(reader)


def _parser(lines: Lines, delimiter: str, path: Path) -> Iterator[list[str]]:
    if len(delimiter) != 1 or delimiter in '"\r\n ':
        hint = "it is one character, as ',' or ';'"
        raise SourceError(f"{delimiter!r} cannot be a delimiter.", where=str(path), hint=hint)
    csv.field_size_limit(_CSV_FIELD_CHARS_MAX)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _header(reader: Iterator[list[str]], lines: Lines, path: Path) -> tuple[str, ...]:
    try:
        cells = next((cells for cells in reader if cells), None)
    except (csv.Error, RecordTooLongError):
        hint = "the first line must name the columns, separated by the delimiter"
        where = f"{path}, line {lines.first_number}"
        raise SourceError("The header is not a line of CSV.", where=where, hint=hint) from None
    if cells is None:
        hint = "the first line must name the columns, even where no rows follow"
        raise SourceError("The source file is empty: it has no header.", where=str(path), hint=hint)
    return header_names(cells, where=f"{path}, line {lines.number}")


class _Records:
    """The records after the header."""

    def __init__(
        self, file: TextIO, lines: Lines, header: tuple[str, ...], bounds: Bounds, path: Path
    ) -> None:
        self._file = file
        self._lines = lines
        self._header = header
        self._bounds = bounds
        self._path = path
        self._reread_chars = 0

    def read(self, reader: Iterator[list[str]]) -> Iterator[RawRecord]:
        lines, header, taken = self._lines, self._header, self._lines.taken
        width, sound_chars, tell = len(header), self._bounds.cell_bytes_max, self._file.buffer.tell
        index = bytes_read = 0
        while True:
            taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, RecordTooLongError) as error:
                yield self._broken(index, error, bytes_read)
                index += 1
                continue
            if not cells:
                continue
            if not index % _PROGRESS_RECORDS:
                bytes_read = tell()
            line = taken[0]
            if (  # the usual record, judged as a whole
                len(cells) == width
                and len(taken) == 1
                and len(line) <= sound_chars
                and line.isascii()
                and "\0" not in line
            ):
                fields = dict(zip(header, cells, strict=True))
                yield RawRecord(index, fields, fields, (), lines.number, bytes_read)
            else:
                yield self._judged(index, cells, bytes_read)
            index += 1

    def _judged(self, index: int, cells: list[str], bytes_read: int) -> RawRecord:
        """A record that is not plain at first sight: sound after all, or with all that is wrong."""
        violations: list[Violation] = []
        if len(cells) != len(self._header):
            violations.append(self._miscounted(cells))
        fields: dict[str, JSON] = {}
        for name, cell in zip(self._header, cells, strict=False):
            flaws = _flaws(name, cell, self._bounds.cell_bytes_max)
            violations.extend(flaws)
            if not flaws:
                fields[name] = cell
        number = self._lines.first_number
        if not violations:
            return RawRecord(index, fields, fields, (), number, bytes_read)
        named = len(cells) == len(self._header)
        content = recordable(dict(zip(self._header, cells, strict=True)) if named else cells)
        return RawRecord(index, fields, content, tuple(violations), number, bytes_read)

    def _miscounted(self, cells: list[str]) -> Violation:
        wanted, found = len(self._header), len(cells)
        expected, actual = f"{wanted} fields", f"{found} fields"
        if found > wanted:
            message = f"The record has {found} fields, the header {wanted}."
            return Violation(None, expected, actual, "too_many_fields", message)
        first = repr(self._header[found])[:NAME_CHARS_MAX]
        message = f"The record has {found} fields, the header {wanted}: nothing for {first} and on."
        return Violation(None, expected, actual, "too_few_fields", message)

    def _broken(self, index: int, error: Exception, bytes_read: int) -> RawRecord:
        """A record that is no CSV: its first line, and the next line begins the next record."""
        lines = self._lines
        first, number, count = lines.taken[0], lines.first_number, len(lines.taken)
        code: ViolationCode = "bad_quoting"
        if isinstance(error, RecordTooLongError):
            why = f"is longer than {self._bounds.record_chars_max} characters"
            code = "cell_too_large" if count == 1 else code
        else:
            why = "has text after a closing quote, or a quote that is never closed"
        self._reread_chars += lines.take_back()
        if self._reread_chars > REREAD_CHARS_MAX:
            hint = "check the quotes and the delimiter from this line on"
            where = f"{self._path}, line {number}"
            raise SourceError("Too many records have quotes that do not match.", where=where, hint=hint)
        message = f"The record that begins in line {number} {why}; reading goes on with the next line."
        found = Violation(None, "a record of CSV", "text", code, message)
        return RawRecord(index, None, recordable(first), (found,), number, bytes_read)


def _flaws(name: str, cell: str, bytes_max: int) -> list[Violation]:
    flaws: list[Violation] = []
    if "\0" in cell:
        message = f"The cell holds a NUL character at place {cell.index(chr(0)) + 1}."
        flaws.append(Violation(name, "text", "text", "nul_character", message))
    try:
        plain_text(cell)
    except Refused:
        message = "The cell holds bytes that are not text in the file's encoding."
        flaws.append(Violation(name, "text", "bytes", "not_utf8", message))
    if len(cell) > bytes_max // 4 and (size := len(cell.encode(errors="surrogateescape"))) > bytes_max:
        message = f"The cell has {size} bytes; at most {bytes_max} can be recorded."
        flaws.append(Violation(name, f"at most {bytes_max} bytes", "text", "cell_too_large", message))
    return flaws
