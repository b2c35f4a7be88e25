"""Parquet is read record by record, whatever is in it, and written whole, with the types that all rows fit."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elspeth_dagster.errors import SinkError, SourceError
from elspeth_dagster.files.parquet_file import read_parquet
from elspeth_dagster.files.parquet_writer import ParquetWriter
from elspeth_dagster.files.record import read_row
from elspeth_dagster.files.typed import Shape
from elspeth_dagster.model.columns import RowReader, parse_columns
from elspeth_dagster.model.convert import ColumnType
from elspeth_dagster.model.row import Row

MIB = 1024 * 1024


def _rows(path: Path, columns: dict[str, str], **keys: Any) -> list[tuple[Row | None, list[str]]]:
    parsed = parse_columns(columns)
    reader = RowReader(parsed, extra=keys.get("extra", "keep"), from_text=False, from_table=True)
    found = [read_row(record, reader) for record in read_parquet(path, columns=parsed, **keys)]
    return [(row, [f"{one.field}: {one.code}" for one in violations]) for row, violations in found]


def _table(path: Path, **arrays: pa.Array) -> Path:
    pq.write_table(pa.table(arrays), path)
    return path


def test_every_type_becomes_ours(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    path = _table(
        tmp_path / "in.parquet",
        whole=pa.array([7], pa.int64()),
        real=pa.array([0.5], pa.float64()),
        text=pa.array(["é"], pa.string()),
        truth=pa.array([True]),
        day=pa.array([dt.date(2026, 1, 31)], pa.date32()),
        local=pa.array([moment], pa.timestamp("ns", tz="Europe/Berlin")),
        naive=pa.array([dt.datetime(2026, 1, 31, 9, 30)], pa.timestamp("ms")),  # noqa: DTZ001 - as files have them
        money=pa.array([Decimal("12.50")], pa.decimal128(10, 2)),
        struct=pa.array([{"a": [1, 2]}]),
        words=pa.array([["x", None]]),
        category=pa.array(["k"]).dictionary_encode(),
    )
    declared = {
        "whole": "int", "real": "float", "text": "str", "truth": "bool", "day": "date", "local": "datetime",
        "naive": "datetime", "money": "decimal", "struct": "json", "words": "json", "category": "str",
    }  # fmt: skip
    assert _rows(path, declared) == [
        (
            {
                "whole": 7, "real": 0.5, "text": "é", "truth": True, "day": "2026-01-31",
                "local": "2026-01-31T07:30:00Z", "naive": "2026-01-31T09:30:00Z", "money": "12.50",
                "struct": {"a": [1, 2]}, "words": ["x", None], "category": "k",
            },
            [],
        )
    ]  # fmt: skip


def test_what_a_row_cannot_hold_is_that_rows_violation(tmp_path: Path) -> None:
    path = _table(
        tmp_path / "in.parquet",
        real=pa.array([1.0, float("nan"), float("inf"), 2.0, 3.0]),
        text=pa.array(["a", "b", "c", None, "e"]),
        raw=pa.array([None, None, None, None, b"\x00\xff"], pa.binary()),
    )
    found = _rows(path, {"real": "float", "text": "str"})
    assert [violations for _, violations in found] == [
        [],
        ["real: not_a_number"],
        ["real: not_a_number"],
        ["text: missing_field"],
        ["raw: wrong_type"],
    ]


def test_text_that_is_no_utf8_spoils_its_own_record_only(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary())
    path = _table(tmp_path / "in.parquet", id=pa.array([1, 2, 3]), text=raw.cast(pa.string(), safe=False))
    assert _rows(path, {"id": "int", "text": "str"}) == [
        ({"id": 1, "text": "good"}, []),
        (None, ["text: not_utf8"]),
        ({"id": 3, "text": "fine"}, []),
    ]


def test_a_time_beyond_python_spoils_its_own_record_only(tmp_path: Path) -> None:
    moments = pa.array([0, 2**62], pa.int64()).cast(pa.timestamp("us"))
    path = _table(tmp_path / "in.parquet", at=moments)
    assert _rows(path, {"at": "datetime"}) == [
        ({"at": "1970-01-01T00:00:00Z"}, []),
        (None, ["at: wrong_type"]),
    ]


def test_json_text_is_read_as_json(tmp_path: Path) -> None:
    path = _table(tmp_path / "in.parquet", tags=pa.array(['["a"]', "no json"]))
    assert _rows(path, {"tags": "json"}) == [({"tags": ["a"]}, []), (None, ["tags: not_json"])]


def test_records_are_numbered_across_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": list(range(2_000))}), path, row_group_size=300)
    assert [(record.index, record.raw) for record in read_parquet(path)] == [
        (number, {"id": number}) for number in range(2_000)
    ]


def test_columns_that_are_dropped_are_not_read_and_lacking_ones_are_told(tmp_path: Path) -> None:
    path = _table(tmp_path / "in.parquet", id=pa.array([1]), note=pa.array(["x"]))
    assert _rows(path, {"id": "int"}, extra="drop") == [({"id": 1}, [])]
    with pytest.raises(SourceError, match="The file lacks 'ident'"):
        _rows(path, {"ident": "int"})
    with pytest.raises(SourceError, match="The file has 'note', which `columns` does not declare"):
        _rows(path, {"id": "int"}, extra="refuse")


@pytest.mark.parametrize("content", [b"", b"id,text\n1,a\n", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no Parquet, or damaged"):
        list(read_parquet(path))


def test_a_file_that_was_cut_off_or_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(50_000)]}), path)
    content = path.read_bytes()
    path.write_bytes(content[:2_000] + b"\xff" * 3_000 + content[5_000:])
    with pytest.raises(SourceError, match="no Parquet, or damaged"):
        list(read_parquet(path))
    with pytest.raises(SourceError, match="does not exist"):
        list(read_parquet(tmp_path / "im.parquet"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """One row group of 120 MiB of text, read and written again."""
    path, copy = tmp_path / "in.parquet", tmp_path / "out.parquet"
    text = pa.array([f"{number:0>1200}" for number in range(100_000)])
    pq.write_table(
        pa.table({"text": text}), path, row_group_size=1_000_000, compression="none", use_dictionary=False
    )
    del text
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from elspeth_dagster.files.parquet_file import read_parquet\n"
        "from elspeth_dagster.files.parquet_writer import ParquetWriter\n"
        "from elspeth_dagster.model.convert import ColumnType\nimport pyarrow.parquet\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"with ParquetWriter(Path({str(copy)!r}), {{'text': ColumnType.STR}}) as writer:\n"
        f"    for record in read_parquet(Path({str(path)!r})):\n        writer.write(record.raw)\n"
        "    writer.finish()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 100 * MIB
    assert pq.ParquetFile(copy).metadata.num_rows == 100_000


def _write(path: Path, rows: list[Row], columns: dict[str, ColumnType]) -> pa.Table:
    with ParquetWriter(path, columns) as writer:
        for row in rows:
            writer.write(row)
        artifact = writer.finish()
    assert (artifact.path, artifact.size_bytes, artifact.row_count) == (path, path.stat().st_size, len(rows))
    return pq.read_table(path)


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    row: Row = {
        "s": "é\n", "i": 7, "f": 2, "b": False, "d": "2026-01-31", "t": "2026-01-31T07:30:00Z", "m": "12.50",
        "j": {"a": [1, None]},
    }  # fmt: skip
    types = dict(zip(row, ColumnType, strict=False))
    kinds = ["str", "int", "float", "bool", "date", "datetime", "decimal", "json"]
    assert [kind.value for kind in types.values()] == kinds
    table = _write(tmp_path / "out.parquet", [row, {}, {"s": "x", "other": 1}], types)
    assert table.to_pylist()[0] == {
        "s": "é\n", "i": 7, "f": 2.0, "b": False, "d": dt.date(2026, 1, 31),
        "t": dt.datetime(2026, 1, 31, 7, 30, tzinfo=dt.UTC), "m": "12.50", "j": '{"a":[1,null]}',
    }  # fmt: skip
    assert table.to_pylist()[1] == dict.fromkeys(row)
    assert table.schema.names == list(row)
    assert _rows(tmp_path / "out.parquet", {name: f"{kind.value}?" for name, kind in types.items()})[0] == (
        row,
        [],
    )


def test_the_same_rows_are_the_same_bytes_and_no_rows_are_a_file_with_columns(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": number, "text": "x" * 10} for number in range(25_000)]
    columns = {"id": ColumnType.INT, "text": ColumnType.STR}
    for name in ("a", "b"):
        _write(tmp_path / name, rows, columns)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pq.ParquetFile(tmp_path / "a").metadata.num_row_groups == 3
    empty = _write(tmp_path / "empty", [], columns)
    assert (empty.num_rows, empty.schema.names) == (0, ["id", "text"])
    assert _write(tmp_path / "nothing", [], {}).num_rows == 0


def test_a_value_that_does_not_fit_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    _write(path, [{"id": 1}], {"id": ColumnType.INT})
    before = path.read_bytes()
    with pytest.raises(SinkError, match="Row 1 cannot be written: 'id' holds a text that is no int") as told:
        _write(path, [{"id": 1}, {"id": "secret"}], {"id": ColumnType.INT})
    assert "secret" not in str(told.value)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize(
    ("values", "hint", "expected"),
    [
        ([1, 2], "int", "int"),
        ([1, 2], "float", "float"),
        ([1, 2.5], "any", "float"),
        ([10**20], "float", "float"),
        ([None], "date?", "date"),
        (["2026-01-31", None], "date", "date"),
        (["2026-01-31", "unknown"], "date", "str"),
        (["1.50", "2"], "decimal", "decimal"),
        (["1.50", "NaN"], "decimal", "str"),
        ([True, None], "any", "bool"),
        ([True, 1], "any", "json"),
        (["a", 1], "str", "json"),
        (["a"], "json", "json"),
        ([[1]], "any", "json"),
        ([None], "any", "str"),
        ([3], "str", "int"),
    ],
)
def test_a_column_has_the_type_that_all_of_its_values_fit(
    values: list[Any], hint: str, expected: str
) -> None:
    shape = Shape({"x": hint})
    for value in values:
        shape.add({"x": value})
    assert shape.columns(["x"]) == {"x": ColumnType(expected)}


def test_columns_are_the_known_ones_then_what_the_rows_have() -> None:
    shape = Shape({})
    shape.add({"z": 1})
    shape.add({"a": "t", "y": None})
    assert list(shape.columns(["a", "b"])) == ["a", "b", "z", "y"]
