"""Sources and sinks: their paths, what they read and write, and what is wrong with them before any run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from elspeth_dagster.errors import SinkError, SourceError
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Home, NodeConfig
from elspeth_dagster.nodes.sink import CsvSinkConfig, JsonlSinkConfig
from elspeth_dagster.nodes.source import CsvSourceConfig, JsonlSourceConfig


def _csv(**keys: JSON) -> CsvSourceConfig:
    return CsvSourceConfig.model_validate({"kind": "csv", "path": "in.csv", "columns": {"id": "int"}, **keys})


def _sink(**keys: JSON) -> CsvSinkConfig:
    return CsvSinkConfig.model_validate({"kind": "csv", "path": "out.csv", **keys})


def _paths(config: NodeConfig, home: Home) -> list[tuple[str | int, ...]]:
    return [mistake.path for mistake in config.mistakes((), home)]


def test_a_source_gives_its_declared_columns_in_order() -> None:
    config = _csv(columns={"id": "int", "amount": "float?"})

    assert config.columns_out(()) == ("id", "amount")
    assert [column.optional for column in config.parsed_columns] == [False, True]


def test_a_source_reads_records_and_turns_them_into_rows(home: Home) -> None:
    (home.base / "in.csv").write_text("id;note\n1;x\n", "utf-8")
    config = _csv(delimiter=";")
    path = config.file(home, partition=None, run_id=None)

    (record,) = config.records(path)

    assert isinstance(record.raw, dict)
    assert config.reader()(record.raw) == ({"id": 1, "note": "x"}, ())


def test_json_lines_have_types_already(home: Home) -> None:
    config = JsonlSourceConfig.model_validate({"kind": "jsonl", "path": "in.jsonl", "columns": {"id": "int"}})

    row, violations = config.reader()({"id": "1"})

    assert row is None
    assert len(violations) == 1
    (home.base / "in.jsonl").write_text('{"id": 1}\n', "utf-8")
    assert len(list(config.records(home.base / "in.jsonl"))) == 1


def test_everything_wrong_with_a_source_is_told(home: Home) -> None:
    config = _csv(path="../in.csv", columns={"a": "integer", "b": "txt"}, delimiter='"', encoding="utf-99")

    assert _paths(config, home) == [
        ("columns", "a"),
        ("columns", "b"),
        ("path",),
        ("delimiter",),
        ("encoding",),
    ]


@pytest.mark.parametrize(
    "keys",
    [
        {"columns": {}}, {"columns": {"id": 1}}, {"extra_columns": "maybe"}, {"delimiter": ";;"}, {"path": None},
        {"on_invalid": None}, {"allow_outside": "yes"}, {"header": True},
    ],
)  # fmt: skip
def test_a_source_takes_nothing_for_granted(keys: dict[str, JSON]) -> None:
    with pytest.raises(ValidationError):
        _csv(**keys)


def test_partition_and_run_stand_in_paths(home: Home) -> None:
    source = _csv(path="{partition}/{run_id}.csv").file(home, partition="p/1", run_id="r")
    sink = _sink(path="{partition}/{run_id}.csv").file(home, partition="p/1", run_id="r")

    assert source == sink == home.base.resolve() / "p%2F1" / "r.csv"


def test_a_path_that_leaves_the_project_is_refused_at_run_time_too(home: Home) -> None:
    with pytest.raises(SourceError, match="outside"):
        _csv(path="../in.csv").file(home, partition=None, run_id=None)
    with pytest.raises(SinkError, match="outside"):
        _sink(path="../out.csv").file(home, partition=None, run_id=None)
    assert _paths(_sink(path="../out.csv", allow_outside=True), home) == []


def test_a_path_with_an_unknown_placeholder_is_a_mistake(home: Home) -> None:
    assert _paths(_sink(path="{partitoin}.csv"), home) == [("path",)]


def test_a_sink_takes_one_port_or_several_or_only_errors() -> None:
    assert _sink(**{"from": "a.b"}).sources() == ("a.b",)
    assert CsvSinkConfig.model_validate({"kind": "csv", "path": "o", "from": ["a", "b.c"]}).sources() == (
        "a",
        "b.c",
    )
    assert _sink().sources() == ()


@pytest.mark.parametrize("given", [[], 5, [1], {"a": "b"}])
def test_what_is_no_port_is_told_once(given: JSON) -> None:
    with pytest.raises(ValidationError, match="a list of ports") as raised:
        _sink(**{"from": given})

    assert raised.value.error_count() == 1


def test_a_sinks_columns_are_named_once(home: Home) -> None:
    assert _paths(_sink(columns=["a", "b", "a"]), home) == [("columns", 2)]


def test_a_sink_writes_the_columns_it_names(home: Home) -> None:
    path = home.base / "out.csv"

    with _sink(columns=["b"]).open(path, columns=["a", "b"]) as writer:
        writer.write({"a": 1, "b": 2})
        writer.finish()

    assert path.read_text("utf-8").split() == ["b", "2"]


def test_a_sink_of_json_lines_writes_whole_rows(home: Home) -> None:
    config = JsonlSinkConfig.model_validate({"kind": "jsonl", "path": "out.jsonl"})
    path = home.base / "out.jsonl"

    with config.open(path, columns=["a"]) as writer:
        writer.write({"a": 1, "b": None})
        writer.finish()

    assert path.read_text("utf-8") == '{"a":1,"b":null}\n'


def test_a_sinks_column_that_is_nearly_a_known_one_is_a_slip_of_the_pen(home: Home) -> None:
    sink = _sink(columns=["id", "amuont", "extra", "_error"])

    (mistake,) = sink.mistakes(("id", "amount"), home)

    assert mistake.path == ("columns", 1)
    assert (
        "Column 'amuont' does not reach this sink. Did you mean 'amount'? Columns there: id, amount."
        in mistake.what
    )
    assert not list(sink.mistakes(None, home))
