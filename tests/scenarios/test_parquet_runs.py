"""A pipeline from Parquet to Parquet: typed, quarantined, provable, and the same again on a resume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elspeth_dagster.errors import DeclarationError, SourceError
from elspeth_dagster.pipeline import pipeline_from
from elspeth_dagster.runtime.node_run import Engine, RunIdentity, run_node
from tests.scenarios.conftest import findings
from tests.scenarios.test_source_again import IDENTITY, engine  # noqa: F401 - a fixture
from tests.support import Project

DECLARATION: dict[str, Any] = {
    "name": "typed",
    "source": {
        "kind": "parquet",
        "path": "in.parquet",
        "columns": {"id": "int", "day": "date", "amount": "float"},
        "on_invalid": "bad",
    },
    "steps": {"twice": {"kind": "map", "from": "source", "set": {"twice": "row.amount * 2"}}},
    "sinks": {
        "out": {"kind": "parquet", "from": "twice", "path": "out.parquet"},
        "bad": {"kind": "parquet", "path": "bad.parquet"},
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    _source(tmp_path, [1.0, 2.25, float("nan"), 4.0])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def _source(folder: Path, amounts: list[float]) -> None:
    days = pa.array(range(20_000, 20_000 + len(amounts)), pa.int32()).cast(pa.date32())
    table = pa.table({"id": list(range(len(amounts))), "day": days, "amount": amounts})
    pq.write_table(table, folder / "in.parquet", row_group_size=2)


def test_rows_keep_their_types_bad_ones_are_quarantined_and_the_run_is_provable(project: Project) -> None:
    project.declare(DECLARATION)
    result = project.run()
    assert result.success
    out, bad = pq.read_table(project.folder / "out.parquet"), pq.read_table(project.folder / "bad.parquet")
    assert out["id"].to_pylist() == [0, 1, 3]
    assert {field.name: str(field.type) for field in out.schema} == {
        "id": "int64", "day": "date32[day]", "amount": "double", "twice": "double",
    }  # fmt: skip
    assert bad["id"].to_pylist() == [2]
    assert '"code":"invalid_row"' in bad["_error"].to_pylist()[0]
    assert findings(project) == []
    (project.folder / "out.parquet").write_bytes(b"tampered")
    assert any("out.parquet is not what the sink wrote" in one for one in findings(project))


def test_dagster_shows_uri_columns_kinds_and_the_datas_version(project: Project) -> None:
    project.declare(DECLARATION)
    versions = []
    for amounts in ([1.0], [1.0], [2.0]):
        _source(project.folder, amounts)
        events = project.run().get_asset_materialization_events()
        by_key = {event.materialization.asset_key.path[-1]: event.materialization for event in events}
        source, out = by_key["source"], by_key["out"]
        versions.append(tuple((one.tags or {})["dagster/data_version"] for one in (source, out)))
    assert versions[0] == versions[1]
    assert versions[0][0] != versions[2][0]
    assert versions[0][1] != versions[2][1]
    assert source.metadata["dagster/uri"].value == str(project.folder / "in.parquet")
    assert out.metadata["dagster/uri"].value == str(project.folder / "out.parquet")
    with project.instance() as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey(["typed", "out"])) is not None


def test_a_file_that_changed_before_a_resume_is_refused(tmp_path: Path, engine: Engine) -> None:  # noqa: F811
    _source(tmp_path, [1.0, 2.0, 3.0])
    pipeline = pipeline_from(DECLARATION, base=tmp_path)
    run_node(pipeline, "source", run=IDENTITY, engine=engine)
    again = run_node(pipeline, "source", run=IDENTITY, engine=engine)
    assert (again.handle.attempt, again.balance.arrived) == (2, 3)
    _source(tmp_path, [1.0, 2.5, 3.0])
    with pytest.raises(SourceError, match="record 1 is not what was read before"):
        run_node(pipeline, "source", run=IDENTITY, engine=engine)


def test_a_declared_type_that_a_row_does_not_fit_stops_the_sink_and_is_mended_by_a_resume(
    project: Project,
) -> None:
    declared = {**DECLARATION, "sinks": {**DECLARATION["sinks"]}}
    declared["sinks"]["out"] = {**declared["sinks"]["out"], "columns": {"id": "int", "amount": "date"}}
    project.declare(declared)
    failed = project.run()
    assert not failed.success
    declared["sinks"]["out"]["columns"] = {"amount": "float", "id": "int"}
    project.declare(declared)
    assert project.run(resume=failed.run_id).success
    out = pq.read_table(project.folder / "out.parquet")
    assert (out.schema.names, out["id"].to_pylist()) == (["amount", "id"], [0, 1, 3])
    assert findings(project) == []


def test_shards_take_their_records_of_one_file(tmp_path: Path, engine: Engine) -> None:  # noqa: F811
    _source(tmp_path, [float(number) for number in range(7)])
    sinks = {"out": {"kind": "parquet", "from": "source", "path": "out/{partition}.parquet"}}
    source = {**DECLARATION["source"], "on_invalid": "discard"}
    divided: dict[str, Any] = {"name": "typed", "source": source, "sinks": sinks, "partitions": {"shards": 2}}
    pipeline = pipeline_from(divided, base=tmp_path)
    for key in ("0-of-2", "1-of-2"):
        identity = RunIdentity(f"run/{key}", key, key, None, None, {}, "host", 1)
        for node_id in pipeline.nodes:
            run_node(pipeline, node_id, run=identity, engine=engine)
    parts = [pq.read_table(path)["id"].to_pylist() for path in sorted(tmp_path.glob("out/*.parquet"))]
    assert parts == [[0, 2, 4, 6], [1, 3, 5]]


def test_mistakes_are_told_when_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {**DECLARATION, "sinks": {**DECLARATION["sinks"]}}
    declared["sinks"]["out"] = {**declared["sinks"]["out"], "columns": {"idd": "int", "twice": "flot"}}
    with pytest.raises(DeclarationError) as told:
        pipeline_from(declared, base=tmp_path)
    said = "\n".join(told.value.mistakes)
    assert "Column 'idd' does not reach this sink. Did you mean 'id'?" in said
    assert "unknown type 'flot'" in said
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DeclarationError) as told:
        pipeline_from(DECLARATION, base=tmp_path)
    assert all("pip install 'elspeth_dagster[parquet]'" in one for one in told.value.mistakes)
    assert len(told.value.mistakes) == 3
