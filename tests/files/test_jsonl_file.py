"""Reading JSON Lines: what is wrong with a line is that line's violation."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files import Bounds, RawRecord, read_jsonl, read_row
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.columns import RowReader, parse_columns


def _read(tmp_path: Path, content: bytes) -> list[RawRecord]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    return list(read_jsonl(path))


def test_lines_become_records_and_blank_lines_and_the_byte_order_mark_nothing(tmp_path: Path) -> None:
    content = '\ufeff{"id": 1}\r\n\n  \n{"id": "ā"}'.encode()

    records = _read(tmp_path, content)

    assert [(record.index, record.line, record.fields) for record in records] == [
        (0, 1, {"id": 1}),
        (1, 4, {"id": "ā"}),
    ]
    assert records[-1].bytes_read == len(content)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json", "not_json"),
        (b'{"id": 2', "not_json"),
        (b'{"id": 2} {"id": 3}', "not_json"),
        (b"[" * 200_000, "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"id": 2, "id": 3}', "duplicate_key"),
        (b'{"id": {"a": 1, "a": 1}}', "duplicate_key"),
        (b'{"id": NaN}', "not_a_number"),
        (b'{"id": [-Infinity]}', "not_a_number"),
        (b'{"id": "caf\xe9"}', "not_utf8"),
        (b'{"id": ' + b"9" * 10_000 + b"}", "integer_too_large"),
        (b'{"id": "' + b"x" * 2_000_000 + b'"}', "cell_too_large"),
        (b'{"id": "' + b"x" * 20_000_000 + b'"}', "cell_too_large"),
        (b'{"id": [' + b"1," * 800_000 + b"1]}", "cell_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:16]),
)
def test_a_bad_line_is_one_violation_and_the_lines_around_it_are_untouched(
    tmp_path: Path, line: bytes, code: str
) -> None:
    content = b'{"id": 1}\n' + line + b'\n{"id": 3}\n'

    records = _read(tmp_path, content)

    assert [[violation.code for violation in record.violations] for record in records] == [[], [code], []]
    assert [record.index for record in records] == [0, 1, 2]
    assert records[2].fields == {"id": 3}
    assert records[2].bytes_read == len(content)
    assert len(canonical_bytes(records[1].raw)) < 1024 * 1024


def test_text_that_only_mentions_nan_is_no_violation(tmp_path: Path) -> None:
    (record,) = _read(tmp_path, b'{"text": "NaN and Infinity"}')

    assert record.violations == ()
    assert record.fields == {"text": "NaN and Infinity"}


def test_all_that_is_wrong_with_a_line_is_named_once(tmp_path: Path) -> None:
    (record,) = _read(tmp_path, b'{"id": "1", "amount": NaN, "more": 1e999, "big": 9007199254740992}')

    columns = parse_columns({"id": "int", "amount": "float", "text": "str"})
    row, violations = read_row(record, RowReader(columns, extra="keep", from_text=False))

    assert row is None
    assert sorted((violation.field or "", violation.code) for violation in violations) == [
        ("amount", "not_a_number"),
        ("big", "integer_too_large"),
        ("id", "wrong_type"),
        ("more", "not_a_number"),
        ("text", "missing_field"),
    ]
    assert record.raw == {"id": "1", "amount": "nan", "more": "inf", "big": "9007199254740992"}


def test_a_huge_line_costs_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id": "' + b"x" * 100_000_000 + b'"}\n{"id": 1}\n')

    tracemalloc.start()
    try:
        records = list(read_jsonl(path, bounds=Bounds(record_chars_max=2_000_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [len(record.violations) for record in records] == [1, 0]
    assert peak < 20_000_000


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        list(read_jsonl(tmp_path / "in.jsonl"))


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    assert _read(tmp_path, b"") == []


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)

    records = list(read_jsonl(path))

    assert [record.index for record in records] == list(range(len(records)))
    for record in records:
        assert record.violations or json.dumps(record.fields)
        canonical_bytes(record.raw)
