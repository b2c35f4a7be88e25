"""Reading JSON Lines: one JSON object a line, in UTF-8. What is wrong with a line is that line's violation.

Duplicate keys and NaN are refused although Python's parser would take them: the record would not be what the file
says. Blank lines are passed over. Types are left to the declared columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from elspeth_dagster.files.opening import reading_bytes
from elspeth_dagster.files.record import Bounds, RawRecord, recordable
from elspeth_dagster.model.columns import Violation, violation
from elspeth_dagster.model.json_values import any_json, parse_json
from elspeth_dagster.model.refused import Refused
from elspeth_dagster.model.row import JSON

SKIP_BYTES = 64 * 1024
"""How much of an over-long line is held at a time while its rest is passed over."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_jsonl(path: Path, *, bounds: Bounds | None = None) -> Iterator[RawRecord]:
    """The records of a JSON Lines file. Nothing is opened before the first one is asked for.

    Raises:
        SourceError: the file cannot be read.
    """
    with reading_bytes(path) as file:
        yield from _records(file, bounds or Bounds())


def _records(file: BinaryIO, bounds: Bounds) -> Iterator[RawRecord]:
    index = number = bytes_read = 0
    bytes_max = bounds.record_chars_max
    while line := file.readline(bytes_max + 1):
        number += 1
        bytes_read += len(line)
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) > bytes_max:
            bytes_read += 0 if line.endswith(b"\n") else _skip_rest(file)
            yield _unreadable(index, line, _too_long(bytes_max), number, bytes_read)
        elif not line or line.isspace():
            continue
        else:
            yield _record(index, line, bounds, number, bytes_read)
        index += 1


def _record(index: int, line: bytes, bounds: Bounds, number: int, bytes_read: int) -> RawRecord:
    try:
        fields = parse_json(line.decode())
    except UnicodeDecodeError as error:
        message = f"The line is not UTF-8 (byte {error.start + 1})."
        found = Violation(None, "UTF-8 text", "bytes", "not_utf8", message)
        return _unreadable(index, line, found, number, bytes_read)
    except Refused as refused:
        found = violation(None, line.decode().rstrip(), refused, expected="a JSON object", text=True)
        return _unreadable(index, line, found, number, bytes_read)
    if not isinstance(fields, dict):
        found = violation(
            None, fields, Refused("not_an_object", "is no JSON object"), expected="a JSON object", text=False
        )
        return _unreadable(index, line, found, number, bytes_read)
    suspect = len(line) > bounds.cell_bytes_max or b"NaN" in line or b"Infinity" in line
    if not suspect:
        return RawRecord(index, fields, fields, (), number, bytes_read)
    flaws = tuple(_flaws(fields, bounds.cell_bytes_max))
    content = recordable(fields) if flaws else fields
    return RawRecord(index, fields, content, flaws, number, bytes_read)


def _flaws(fields: dict[str, JSON], bytes_max: int) -> Iterator[Violation]:
    """The fields that cannot be recorded, each with why."""
    for name, value in fields.items():
        try:
            _check(value, bytes_max)
        except Refused as refused:
            yield violation(name, value, refused, expected="json", text=False)


def _check(value: JSON, bytes_max: int) -> None:
    any_json(value)
    size = len((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode())
    if size > bytes_max:
        raise Refused("cell_too_large", f"has {size} bytes; at most {bytes_max} can be recorded")


def _too_long(bytes_max: int) -> Violation:
    message = f"The line is longer than {bytes_max} bytes."
    return Violation(None, f"at most {bytes_max} bytes", "text", "cell_too_large", message)


def _unreadable(index: int, line: bytes, found: Violation, number: int, bytes_read: int) -> RawRecord:
    content = recordable(line.decode(errors="backslashreplace").rstrip("\r\n"))
    return RawRecord(index, None, content, (found,), number, bytes_read)


def _skip_rest(file: BinaryIO) -> int:
    skipped = 0
    while part := file.readline(SKIP_BYTES):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
