"""Writing rows: what is read back is what was written, and a file is whole or not there."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import SinkError
from elspeth_dagster.files import open_writer, read_csv, read_jsonl
from elspeth_dagster.model.row import SAFE_INTEGER_MAX, Row

Kind = Literal["csv", "jsonl"]
KINDS: tuple[Kind, ...] = ("csv", "jsonl")

CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMES = st.text("abcdeé,;\"'\r\n x", min_size=1).map(str.strip).filter(bool)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER_MAX, SAFE_INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | CELLS
)
NESTED = st.lists(SCALARS, max_size=3) | st.dictionaries(CELLS, SCALARS, max_size=3)
ROWS = st.dictionaries(CELLS, SCALARS | NESTED, max_size=4)


def _write(kind: Kind, path: Path, rows: list[Row], *, columns: list[str] | None = None) -> bytes:
    with open_writer(kind, path, columns=columns) as writer:
        for row in rows:
            writer.write(row)
        artifact = writer.finish()
    content = path.read_bytes()
    assert artifact.path == path
    assert artifact.sha256 == hashlib.sha256(content).digest()
    assert (artifact.size_bytes, artifact.row_count) == (len(content), len(rows))
    return content


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.data())
def test_text_rows_survive_csv(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    rows: list[Row] = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELLS)), max_size=4))

    _write("csv", path, rows, columns=names)

    records = list(read_csv(path))
    assert [record.violations for record in records] == [()] * len(rows)
    assert [record.fields for record in records] == rows
    with path.open(newline="", encoding="utf-8") as file:  # and for everybody else who reads CSV
        assert list(csv.DictReader(file)) == rows


@given(st.lists(ROWS, max_size=4))
def test_any_rows_survive_json_lines(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"

    content = _write("jsonl", path, rows)

    assert [record.fields for record in read_jsonl(path)] == rows
    assert content.count(b"\n") == len(rows)


def test_csv_cells_are_written_as_documented(tmp_path: Path) -> None:
    row: Row = {
        "null": None,
        "yes": True,
        "no": False,
        "int": 7,
        "float": 0.1,
        "whole": 1e16,
        "nested": {"ā": [1, None]},
        "formula": "=1+1",
        "quoted": 'say "hi",\r\nplease',
        "lone": "a\rb",
    }

    content = _write("csv", tmp_path / "out.csv", [row])

    assert content.decode() == (
        "null,yes,no,int,float,whole,nested,formula,quoted,lone\n"
        ',true,false,7,0.1,1e+16,"{""ā"":[1,null]}",=1+1,"say ""hi"",\r\nplease","a\rb"\n'
    )


def test_json_lines_are_compact_in_the_rows_order_and_in_utf8(tmp_path: Path) -> None:
    content = _write("jsonl", tmp_path / "out.jsonl", [{"b": "ā", "a": [1, None]}, {}])

    assert content.decode() == '{"b":"ā","a":[1,null]}\n{}\n'


@pytest.mark.parametrize(("kind", "content"), [("csv", b"a,b\n"), ("jsonl", b"")])
def test_an_empty_sink_still_makes_a_file(tmp_path: Path, kind: Kind, content: bytes) -> None:
    assert _write(kind, tmp_path / "out", [], columns=["a", "b"]) == content


def test_columns_give_the_order_and_a_lacking_field_is_an_empty_cell_or_absent(tmp_path: Path) -> None:
    rows: list[Row] = [{"a": 1, "b": 2}, {"b": 3}]

    assert _write("csv", tmp_path / "out.csv", rows, columns=["b", "a"]) == b"b,a\n2,1\n3,\n"
    assert _write("jsonl", tmp_path / "out.jsonl", rows, columns=["b", "a"]) == b'{"b":2,"a":1}\n{"b":3}\n'


@pytest.mark.parametrize("columns", [None, ["a"]])
def test_a_field_that_csv_has_no_column_for_is_an_error_and_the_old_file_stays(
    tmp_path: Path, columns: list[str] | None
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    writer = open_writer("csv", path, columns=columns)
    writer.write({"a": 1})
    with pytest.raises(SinkError, match=r"Row 1 .*'b'") as caught:
        writer.write({"a": 2, "b": 3})

    assert "columns" in str(caught.value.hint)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("kind", KINDS)
def test_other_fields_are_left_out_where_that_is_asked_for(tmp_path: Path, kind: Kind) -> None:
    with open_writer(kind, tmp_path / "out", columns=["a"], extra="drop") as writer:
        writer.write({"a": 1, "b": 2})
        writer.finish()

    assert (tmp_path / "out").read_text() == {"csv": "a\n1\n", "jsonl": '{"a":1}\n'}[kind]


def test_a_csv_row_without_any_column_is_refused(tmp_path: Path) -> None:
    with (
        open_writer("csv", tmp_path / "out.csv") as writer,
        pytest.raises(SinkError, match="without columns"),
    ):
        writer.write({})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": math.nan}, "\ud800"])
def test_what_is_not_json_is_never_written(tmp_path: Path, kind: Kind, value: object) -> None:
    writer = open_writer(kind, tmp_path / "out", columns=["a"])

    with pytest.raises(SinkError):
        _finish_with(writer, {"a": value})

    assert list(tmp_path.iterdir()) == []


def _finish_with(writer: object, row: object) -> None:
    writer.write(row)  # type: ignore[attr-defined]
    writer.finish()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_is_left_or_aborted_leaves_nothing(tmp_path: Path, kind: Kind) -> None:
    with open_writer(kind, tmp_path / "out") as writer:
        writer.write({"a": 1})
    open_writer(kind, tmp_path / "out").abort()

    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with open_writer("csv", tmp_path / "out.csv") as writer:
            for number in range(50_000):
                writer.write({"id": number, "text": "some text that is not short at all"})
            writer.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (tmp_path / "out.csv").stat().st_size > 2_000_000
    assert peak < 1_500_000


def test_csv_is_json_readable_back_cell_by_cell(tmp_path: Path) -> None:
    nested: Row = {"x": {"deep": ["a,b", '"', "\n"]}}

    _write("csv", tmp_path / "out.csv", [nested])

    (record,) = read_csv(tmp_path / "out.csv")
    assert json.loads(str((record.fields or {})["x"])) == nested["x"]
