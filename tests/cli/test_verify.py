"""`verify` is clean on what was recorded, and names whatever was changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape import schema
from tests.cli.conftest import Finished, InProcess
from tests.cli.tampering import copy_of, tamper


def _findings(cli: InProcess, finished: Finished, folder: Path, *statements: str) -> list[dict[str, Any]]:
    copy = copy_of(finished.project, folder)
    tamper(copy, *statements)
    said = cli(folder, "verify", finished.key, "--landscape", copy.landscape_url, "--json")
    document = json.loads(said.out)
    assert said.status == (0 if document["is_clean"] else 4) == document["exit_status"]
    return [finding for check in document["checks"] for finding in check["findings"]]


def test_a_run_that_nobody_touched_is_clean(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "verify", finished.key)
    assert said.status == 0
    assert "Everything holds." in said.out
    assert "4 files" in said.out


CHANGES = {
    "runs": "UPDATE runs SET pipeline = 'other'",
    "run_attempts": "UPDATE run_attempts SET pid = pid + 1",
    "nodes": "UPDATE nodes SET kind = 'map' WHERE node_id = 'judge'",
    "node_executions": "UPDATE node_executions SET rows_in = rows_in + 1 WHERE node_id = 'judge'",
    "rows": "UPDATE rows SET row_index = 99 WHERE row_index = 4",
    "tokens": "UPDATE tokens SET branch = 'x' WHERE token_id LIKE '%-000000004'",
    "node_states": "UPDATE node_states SET duration_ms = 1.5 WHERE state_id LIKE '%-000000004@judge'",
    "calls": "UPDATE calls SET cost_usd = 0 WHERE call_id LIKE '%-000000004@judge#0'",
    "routing_events": "UPDATE routing_events SET port = 'angry', truth = 1 WHERE port = 'rest'",
    "token_outcomes": "UPDATE token_outcomes SET sink = 'angry' WHERE sink = 'rest'",
    "validation_errors": "UPDATE validation_errors SET code = 'x'",
    "artifacts": "UPDATE artifacts SET size_bytes = size_bytes + 1",
}


@pytest.mark.parametrize("table", CHANGES)
def test_one_changed_column_of_any_table_is_found(
    cli: InProcess, finished: Finished, tmp_path: Path, table: str
) -> None:
    findings = _findings(cli, finished, tmp_path, CHANGES[table])
    assert table in {finding["table"] for finding in findings if finding["check"] == "record_hash"}


def test_a_flipped_byte_of_a_body_is_found_with_its_key(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    flip = (
        "UPDATE payloads SET body = CAST(replace(CAST(body AS TEXT), 'calm', 'cald') AS BLOB) "
        "WHERE salt_id LIKE '%-000000003'"
    )
    findings = _findings(cli, finished, tmp_path, flip)
    assert findings
    assert {finding["check"] for finding in findings} == {"body_hash"}
    assert all("-000000003, " in finding["key"] for finding in findings)


def test_a_body_that_vanished_without_its_salt_is_found(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    findings = _findings(cli, finished, tmp_path, "DELETE FROM payloads WHERE salt_id LIKE '%-000000003'")
    assert {finding["check"] for finding in findings} == {"body_present"}
    assert {finding["table"] for finding in findings} == {"rows", "node_states", "calls"}


def test_a_removed_call_leaves_a_gap(cli: InProcess, finished: Finished, tmp_path: Path) -> None:
    remove = "DELETE FROM calls WHERE call_index = 0 AND state_id IN (SELECT state_id FROM calls WHERE call_index = 1)"
    findings = _findings(cli, finished, tmp_path, remove)
    assert [finding["check"] for finding in findings] == ["call_indices", "seal_root"]


def test_a_removed_state_is_missed_by_the_balance_and_the_pools_order(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    findings = _findings(
        cli,
        finished,
        tmp_path,
        "PRAGMA foreign_keys = OFF",
        "DELETE FROM calls WHERE state_id LIKE '%-000000003@judge'",
        "DELETE FROM node_states WHERE state_id LIKE '%-000000003@judge'",
    )
    assert {finding["check"] for finding in findings} >= {"balance", "pool_indices"}


def test_a_removed_outcome_or_an_open_state_is_found_in_a_finished_run(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    findings = _findings(
        cli,
        finished,
        tmp_path,
        "DELETE FROM token_outcomes WHERE token_id LIKE '%-000000003'",
        "UPDATE node_states SET status = 'open', out_port = NULL WHERE state_id LIKE '%-000000004@judge'",
    )
    checks = {finding["check"]: finding for finding in findings}
    assert checks["one_outcome"]["key"].endswith("-000000003")
    assert "nothing_open" in checks


def test_a_sinks_file_that_was_edited_is_found(cli: InProcess, finished: Finished) -> None:
    file = finished.project.folder / "out" / "rest.jsonl"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"calm", b"cald", 1))
    try:
        said = cli(finished.project.folder, "verify", finished.key)
    finally:
        file.write_bytes(before)
    assert said.status == 4
    assert "rest.jsonl is not what the sink wrote" in said.text
    assert "1 finding" in said.out


def test_a_sinks_file_that_is_gone_is_a_note(cli: InProcess, finished: Finished) -> None:
    file = finished.project.folder / "out" / "rest.jsonl"
    before = file.read_bytes()
    file.unlink()
    try:
        said = cli(finished.project.folder, "verify", finished.key)
    finally:
        file.write_bytes(before)
    assert said.status == 0
    assert "not there any more" in said.text


def test_a_run_that_was_removed_is_remembered_by_dagster(
    cli: InProcess, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(finished.project, tmp_path)
    tables = [table.name for table in reversed(schema.metadata.sorted_tables)]
    tamper(copy, "PRAGMA foreign_keys = OFF", *(f"DELETE FROM {table}" for table in tables))  # noqa: S608
    monkeypatch.setenv("DAGSTER_HOME", str(finished.project.folder / ".elspeth" / "dagster"))
    said = cli(tmp_path, "verify", finished.key, "--landscape", copy.landscape_url)
    assert said.status == 4
    assert "Dagster's log has 7 seals of this run" in said.text
    as_json = cli(tmp_path, "verify", finished.key, "--landscape", copy.landscape_url, "--json")
    document = json.loads(as_json.out)
    assert (as_json.status, document["is_clean"], document["run"]) == (4, False, None)


def test_a_run_that_nobody_knows_is_no_finding(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "verify", "00000000")
    assert said.status != 4
    assert "There is no run '00000000'" in said.err


def test_without_dagsters_log_the_seals_are_compared_with_nothing_else(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    copy = copy_of(finished.project, tmp_path)
    said = cli(tmp_path, "verify", finished.key, "--landscape", copy.landscape_url)
    assert said.status == 0
    assert "Dagster's event log is not at hand" in said.text
    assert (
        "Dagster's log has the same seals" not in said.text
    )  # nothing is said to hold that was not looked at
    with_log = cli(finished.project.folder, "verify", finished.key)
    assert "Dagster's log has the same seals" in with_log.text
