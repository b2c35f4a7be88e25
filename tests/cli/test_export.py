"""An export holds every record of a run, exactly: whoever has it can recompute each hash. It is whole or not there."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from elspeth_dagster.errors import ExportError
from elspeth_dagster.landscape import Landscape, export, schema
from elspeth_dagster.landscape.export_bodies import body_bytes, exact_body
from elspeth_dagster.model.canonical import canonical_bytes, content_hash, record_hash
from tests.cli.conftest import FILTERED_ROW, ROWS, Finished, InProcess
from tests.cli.tampering import copy_of, tamper
from tests.support import Project

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=["jsonl", "parquet"])
def form(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def folder(cli: InProcess, finished: Finished, tmp_path: Path, form: str) -> Path:
    target = tmp_path / "export"
    said = cli(
        finished.project.folder, "export", finished.key, "--out", str(target), "--format", form, "--json"
    )
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out)["directory"] == str(target)
    return target


def _read(folder: Path, form: str) -> Records:
    return {path.stem: list(_records(path, form)) for path in folder.glob(f"*.{form}")}


def _records(path: Path, form: str) -> Iterator[dict[str, Any]]:
    if form == "jsonl":
        for line in path.read_text("utf-8").splitlines():
            yield json.loads(line)
        return
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import

    for record in pq.read_table(path).to_pylist():
        as_text = [name for name in record if name.endswith("_json") or name in {"body", *_BODIES}]
        yield record | {name: json.loads(record[name]) for name in as_text if record.get(name) is not None}


_BODIES = ("data", "output", "request", "response", "error_detail")


def _cells(table: sa.Table, record: dict[str, Any]) -> list[Any]:
    """The columns as the database has them."""

    def cell(column: sa.Column[Any]) -> Any:
        value = record[column.name]
        if value is None:
            return None
        if column.name.endswith("_json"):
            return canonical_bytes(value).decode()
        return bytes.fromhex(value) if isinstance(column.type, sa.LargeBinary) else value

    return [cell(column) for column in table.columns]


def test_every_record_is_there_and_counted(folder: Path, form: str, finished: Finished) -> None:
    records = _read(folder, form)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    for one in manifest["files"]:
        path = folder / one["file"]
        (stored,) = finished.project.query(f"SELECT count(*) FROM {one['table']}")[0]  # noqa: S608
        assert one["records"] == len(records[one["table"]]) == stored
        assert one["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert one["size_bytes"] == path.stat().st_size
    assert {table.name for table in schema.EVIDENCE} < {one["table"] for one in manifest["files"]}
    assert manifest["run"]["run_key"] == finished.key
    assert len(records["rows"]) == ROWS
    assert records["calls"]


def test_every_hash_can_be_recomputed(folder: Path, form: str) -> None:
    records = _read(folder, form)
    seen = 0
    for table in schema.EVIDENCE:
        for record in records[table.name]:
            *cells, kept = _cells(table, record)
            if table is not schema.seals:
                assert record_hash(table.name, cells) == kept, table.name
                seen += 1
    salts = {one["salt_id"]: bytes.fromhex(one["salt"]) for one in records["row_salts"]}
    for one in records["payloads"]:
        body = body_bytes(one["encoding"], one["body"])
        assert content_hash(salts[one["salt_id"]], body).hex() == one["content_hash"]
    assert seen > 100


def test_bodies_stand_beside_their_hashes(folder: Path, form: str) -> None:
    records = _read(folder, form)
    row = next(one for one in records["rows"] if one["row_index"] == 3)
    assert row["data"] == {"id": 3, "text": "row-3."}
    states = [one for one in records["node_states"] if one["token_id"] == row["row_id"]]
    judged = next(one for one in states if one["node_id"] == "judge")
    assert judged["output"] == row["data"] | {"mood": judged["output"]["mood"]}
    assert judged["context_after_json"]["pool"]["submit_index"] >= 0
    (call,) = [one for one in records["calls"] if one["state_id"] == judged["state_id"]]
    assert call["request"]["messages"][-1]["content"].endswith("row-3.")
    assert call["response"]["choices"]
    failed = next(one for one in records["node_states"] if one["status"] == "failed")
    assert failed["token_id"].endswith(str(FILTERED_ROW))
    assert failed["error_detail"]["message"]


def test_two_exports_of_a_run_are_the_same_bytes(
    folder: Path, form: str, cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert (
        cli(finished.project.folder, "export", finished.key, "--out", str(again), "--format", form).status
        == 0
    )
    for path in folder.glob(f"*.{form}"):
        assert path.read_bytes() == (again / path.name).read_bytes()


# Where it goes -------------------------------------------------------------------------------------------------------


def test_the_list_of_files_fits_80_columns(cli: InProcess, finished: Finished, tmp_path: Path) -> None:
    said = cli(finished.project.folder, "export", finished.key, "--out", str(tmp_path / "new"))
    assert said.status == 0
    assert max(map(len, said.out.splitlines())) <= 80 + len(str(tmp_path))
    assert "node_states.jsonl" in said.out


def test_a_directory_with_something_in_it_is_refused_and_left_alone(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    said = cli(finished.project.folder, "export", finished.key, "--out", str(tmp_path))
    assert said.status == 2
    assert "is not empty" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_or_a_place_that_cannot_be_written_is_refused(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in cli(finished.project.folder, "export", finished.key, "--out", str(file)).err
    below = cli(finished.project.folder, "export", finished.key, "--out", str(file / "below"))
    assert (below.status, "cannot be written" in below.err) == (2, True)


def test_an_empty_directory_is_filled(cli: InProcess, finished: Finished, tmp_path: Path) -> None:
    target = tmp_path / "empty"
    target.mkdir()
    assert cli(finished.project.folder, "export", finished.key, "--out", str(target)).status == 0
    assert (target / "manifest.json").is_file()


def test_an_export_that_fails_half_way_leaves_nothing(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "sha256_of", full)
    target = tmp_path / "export"
    with Landscape.open(finished.project.landscape_url) as landscape:
        run = landscape.run(finished.key)
        with pytest.raises(ExportError, match="No space left"):
            export.export_run(landscape.database, run, target, form="jsonl", exported_at="now")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_removed_by_the_next_and_a_living_one_is_not(
    finished: Finished, tmp_path: Path
) -> None:
    target = tmp_path / "export"
    dead, alive, other = (
        tmp_path / name
        for name in (".export.0123abcd.partial", ".export.4567abcd.partial", ".other.0123abcd.partial")
    )
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "payloads.jsonl").write_text("a body")

    with Landscape.open(finished.project.landscape_url) as landscape, export.locked(alive):
        run = landscape.run(finished.key)
        export.export_run(landscape.database, run, target, form="jsonl", exported_at="now")

    assert sorted(tmp_path.iterdir()) == sorted([alive, other, target])


def test_without_pyarrow_parquet_says_what_to_install(
    cli: InProcess, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    target = tmp_path / "export"
    said = cli(finished.project.folder, "export", finished.key, "--out", str(target), "--format", "parquet")
    assert said.status == 2
    assert "pip install 'elspeth_dagster[parquet]'" in said.err
    assert not target.exists()


@pytest.mark.parametrize(
    "body", [b"", b'{"b": 1, "a": 2}', b"{", b"\xff\x00", b'{"a":1.0}', '"é"'.encode(), b"NaN"]
)
def test_any_body_leads_back_to_its_bytes(body: bytes) -> None:
    encoding, value = exact_body(body)
    assert body_bytes(encoding, json.loads(json.dumps(value))) == body


def test_a_purged_runs_export_has_its_evidence_without_bodies(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    copy: Project = copy_of(finished.project, tmp_path)
    tamper(copy, "DELETE FROM payloads", "DELETE FROM row_salts")
    target = tmp_path / "export"
    said = cli(tmp_path, "export", finished.key, "--out", str(target), "--landscape", copy.landscape_url)
    assert said.status == 0
    records = _read(target, "jsonl")
    assert records["payloads"] == records["row_salts"] == []
    assert {one["data"] for one in records["rows"]} == {None}
    assert len(records["rows"]) == ROWS


def test_of_two_exports_into_one_directory_one_is_whole_and_the_other_refused(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, both = tmp_path / "export", threading.Barrier(2)
    write = export.write_manifest

    def write_at_once(path: Path, manifest: dict[str, object]) -> None:
        both.wait(30)  # each has found the directory free, and has all of its files
        write(path, manifest)

    monkeypatch.setattr(export, "write_manifest", write_at_once)

    def ask() -> str:
        with Landscape.open(finished.project.landscape_url) as landscape:
            run = landscape.run(finished.key)
            try:
                export.export_run(landscape.database, run, target, form="jsonl", exported_at="2026-01-01")
            except ExportError as error:
                return str(error)
        return "exported"

    with ThreadPoolExecutor(2) as threads:
        said = sorted(one.result() for one in [threads.submit(ask), threads.submit(ask)])

    assert said[1] == "exported"
    assert said[0].splitlines()[0] == "The directory to export to is not empty."
    manifest = json.loads((target / "manifest.json").read_text("utf-8"))
    assert all((target / one["file"]).stat().st_size == one["size_bytes"] for one in manifest["files"])
    assert [path.name for path in tmp_path.iterdir()] == ["export"], "nothing half-done is left"
