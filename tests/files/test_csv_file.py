"""Reading CSV: one bad record costs one record, a bad file is refused before any row."""

from __future__ import annotations

import csv
import os
import tracemalloc
from pathlib import Path

import pytest

from elspeth_dagster.errors import SourceError
from elspeth_dagster.files import Bounds, RawRecord, check_header, read_csv, read_row
from elspeth_dagster.files.opening import source_error
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.columns import RowReader, parse_columns

COLUMNS = parse_columns({"id": "int", "text": "str", "amount": "float?"})


def _written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "in.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _read(tmp_path: Path, content: bytes | str, *, encoding: str = "utf-8-sig") -> list[RawRecord]:
    return list(read_csv(_written(tmp_path, content), encoding=encoding))


def _codes(record: RawRecord) -> list[str]:
    return [violation.code for violation in record.violations]


def test_records_come_in_order_with_their_names_index_and_line(tmp_path: Path) -> None:
    records = _read(tmp_path, 'id,text\n1,a\n2,"b\nb"\n3,c\n')

    assert [record.fields for record in records] == [
        {"id": "1", "text": "a"},
        {"id": "2", "text": "b\nb"},
        {"id": "3", "text": "c"},
    ]
    assert [(record.index, record.line) for record in records] == [(0, 2), (1, 3), (2, 5)]
    assert all(record.bytes_read > 0 for record in records)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_line_ends_byte_order_marks_and_encodings_leave_no_trace(
    tmp_path: Path, end: str, encoding: str
) -> None:
    content = f"id,text{end}1,é{end}2,y".encode(encoding)

    records = _read(tmp_path, content, encoding=encoding)

    assert [record.fields for record in records] == [{"id": "1", "text": "é"}, {"id": "2", "text": "y"}]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-8"):
        (record,) = _read(tmp_path, b'\xef\xbb\xbf"id",text\n1,a', encoding=encoding)
        assert record.fields == {"id": "1", "text": "a"}


def test_blank_lines_are_passed_over_and_blanks_around_names_are_forgiven(tmp_path: Path) -> None:
    records = _read(tmp_path, "\n id , text\n\n1,a\n\n\n2,b\n\n")

    assert [record.fields for record in records] == [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]
    assert [record.index for record in records] == [0, 1]


def test_an_empty_cell_of_a_one_column_file_is_a_record(tmp_path: Path) -> None:
    assert [record.fields for record in _read(tmp_path, 'id\n""\n1\n')] == [{"id": ""}, {"id": "1"}]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"2,b", "too_few_fields"),
        (b"2,b,3,4", "too_many_fields"),
        (b"2,b\x00b,3", "nul_character"),
        (b"2,caf\xe9,3", "not_utf8"),
        (b"2,\xed\xa0\x80,3", "not_utf8"),
        (b"2," + b"x" * 2_000_000 + b",3", "cell_too_large"),
        (b'2,"' + b"line\n" * 400_000 + b'",3', "cell_too_large"),
        (b'2,"b"b,3', "bad_quoting"),
        (b'2,"b,3', "bad_quoting"),
        (b"2," + b"x" * 9_000_000 + b",3", "cell_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_a_bad_record_is_one_violation_and_the_records_around_it_are_untouched(
    tmp_path: Path, line: bytes, code: str
) -> None:
    records = _read(tmp_path, b"id,text,amount\n1,a,1\n" + line + b"\n3,c,3\n4,d,4\n")

    assert [_codes(record) for record in records] == [[], [code], [], []]
    assert [record.index for record in records] == [0, 1, 2, 3]
    assert records[2].fields == {"id": "3", "text": "c", "amount": "3"}
    assert len(canonical_bytes(records[1].raw)) < 1024 * 1024
    assert records[1].line == 3


def test_a_quote_that_is_never_closed_swallows_no_row_however_long_the_file(tmp_path: Path) -> None:
    rows = "".join(f'{number},"text {number}"\n' for number in range(1000))
    tail = "".join(f"{number},plain\n" for number in range(3000))

    records = list(
        read_csv(
            _written(tmp_path, f'id,text\n{rows}x,"never closed\n{tail}'),
            bounds=Bounds(record_chars_max=10_000),
        )
    )

    assert len(records) == 4001
    assert [record.index for record in records if record.violations] == [1000]
    assert records[1000].raw == 'x,"never closed\n'
    assert records[1000].line == 1002
    assert records[-1].line == 4002


def test_quotes_that_never_match_end_in_an_error_not_in_a_file_read_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth_dagster.files.csv_file.REREAD_CHARS_MAX", 1_000_000)
    path = _written(tmp_path, "a,b,c\n" + 'a",""",\n' * 20_000)

    with pytest.raises(SourceError, match="quotes that do not match"):
        list(read_csv(path, bounds=Bounds(record_chars_max=100_000)))


def test_all_that_is_wrong_with_a_record_is_named_its_form_first(tmp_path: Path) -> None:
    (record,) = _read(tmp_path, b"id,text,amount,more\nx,caf\xe9,nan\n")

    row, violations = read_row(record, RowReader(COLUMNS, extra="keep", from_text=True))

    assert row is None
    assert [(violation.field, violation.code) for violation in violations] == [
        (None, "too_few_fields"),
        ("text", "not_utf8"),
        ("id", "wrong_type"),
        ("amount", "not_a_number"),
    ]
    assert record.raw == ["x", "caf\\udce9", "nan"]


def test_a_huge_cell_costs_bounded_memory(tmp_path: Path) -> None:
    path = _written(tmp_path, b"id,text\n1," + b"x" * 200_000_000 + b"\n2,ok\n")

    tracemalloc.start()
    try:
        records = list(read_csv(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [_codes(record) for record in records] == [["cell_too_large"], []]
    assert peak < 80_000_000


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    path = _written(tmp_path, "id,text\n" + "1,some text that is not short\n" * 100_000)

    tracemalloc.start()
    try:
        count = sum(1 for _ in read_csv(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert count == 100_000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"id,,text\n", "no name for column 2"),
        (b"id,text,\n", "no name for column 3"),
        (b"id,text,id\n", "'id' more than once"),
        (b'id,"text\n1,2\n', "not a line of CSV"),
        (b"id,caf\xe9\n", "not text in this encoding"),
        ("id,text\n".encode("utf-16"), "not text|NUL"),
        ("id,text\n".encode("utf-16-le"), "NUL"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(SourceError, match=what) as caught:
        _read(tmp_path, content)

    assert "in.csv" in str(caught.value.where)
    assert caught.value.hint


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "messages.csv").touch()

    with pytest.raises(SourceError, match="does not exist") as caught:
        list(read_csv(tmp_path / "mesages.csv"))

    assert "Did you mean 'messages.csv'?" in str(caught.value.hint)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        list(read_csv(tmp_path / "nowhere" / "in.csv"))

    assert "nowhere" in str(caught.value.hint)


def test_a_folder_or_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SourceError, match="folder"):
        list(read_csv(tmp_path))
    with pytest.raises(SourceError, match="not a regular file"):
        list(read_csv(tmp_path / "pipe"))


def test_a_file_that_must_not_be_read_says_so(tmp_path: Path) -> None:
    error = source_error(PermissionError(13, "Permission denied"), tmp_path / "in.csv")

    assert "permission denied" in error.what
    assert error.hint


def test_an_unknown_encoding_and_an_impossible_delimiter_are_refused(tmp_path: Path) -> None:
    path = _written(tmp_path, "id\n1\n")

    with pytest.raises(SourceError, match="no encoding 'utf-9'"):
        list(read_csv(path, encoding="utf-9"))
    with pytest.raises(SourceError, match="cannot be a delimiter"):
        list(read_csv(path, delimiter="||"))


def test_bytes_that_are_no_utf16_stop_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not utf-16 text"):
        _read(tmp_path, "id\n1".encode("utf-16") + b"\x00\xd8\x00", encoding="utf-16")


def test_another_delimiter_separates(tmp_path: Path) -> None:
    path = _written(tmp_path, "id;text\n1;a,b\n")

    assert [record.fields for record in read_csv(path, delimiter=";")] == [{"id": "1", "text": "a,b"}]


def test_a_lacking_column_is_refused_before_any_row_unless_it_is_optional(tmp_path: Path) -> None:
    path = _written(tmp_path, "id,txt\n1,a\n")

    with pytest.raises(SourceError, match="lacks 'text'") as caught:
        next(read_csv(path, columns=COLUMNS))

    assert "Did you mean 'txt'?" in caught.value.what
    assert "amount" not in caught.value.what


def test_a_header_in_one_piece_hints_at_the_delimiter() -> None:
    with pytest.raises(SourceError) as caught:
        check_header(["id;text"], COLUMNS, "in.csv")

    assert "delimiter ';'" in str(caught.value.hint)


def test_undeclared_columns_are_refused_by_the_header_where_they_are_to_be_refused() -> None:
    check_header(["id", "text", "more"], COLUMNS, "in.csv")

    with pytest.raises(SourceError, match=r"'amont'.*Did you mean 'amount'"):
        check_header(["id", "text", "amont"], COLUMNS, "in.csv", extra="refuse")


def test_a_reader_works_where_another_package_lowered_the_limit_of_csv(tmp_path: Path) -> None:
    before = csv.field_size_limit(100)
    try:
        (record,) = _read(tmp_path, "id\n" + "x" * 1000 + "\n")
    finally:
        csv.field_size_limit(before)

    assert record.fields == {"id": "x" * 1000}
