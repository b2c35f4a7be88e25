"""The reading commands on one finished run: what it says must be what happened."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape.database import Database
from tests.cli.conftest import FILTERED_ROW, INVALID_ROW, ROWS, Finished, InProcess
from tests.cli.tampering import copy_of, tamper
from tests.landscape.family import FAMILY_RUN, make_family
from tests.landscape.material import FakeClock
from tests.support import Project


def _document(cli: InProcess, project: Project, *words: str) -> dict[str, Any]:
    said = cli(project.folder, *words, "--json")
    assert (said.status, said.err) == (0, "")
    made: dict[str, Any] = json.loads(said.out)
    return made


def test_runs_lists_the_run_with_its_status(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "runs")
    assert said.status == 0
    assert finished.key in said.out
    assert "failed rows" in said.out
    (listed,) = _document(cli, finished.project, "runs")["runs"]
    assert listed["status"] == "completed_with_failures"


def test_runs_tells_partitions_apart(cli: InProcess, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'landscape.db'}"
    database = Database(url)
    database.ensure_schema()
    clock = FakeClock()
    for number, key in enumerate(
        ("2026-01-30", "2026-01-31", "a-file-with-a-name-that-is-much-too-long.csv")
    ):
        run_id = f"{number}1f0c9a5-{key}"
        run = replace(FAMILY_RUN, run_id=run_id, dagster_run_id=run_id, partition_key=key)
        make_family(database, 1, run=run, clock=clock)
    database.dispose()
    said = cli(tmp_path, "runs", "--landscape", url)
    assert said.status == 0
    for name in ("2026-01-30", "2026-01-31", "a-file-with-a-name-that…"):
        assert f"{FAMILY_RUN.pipeline} {name} " in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    missed = cli(tmp_path, "show", "nothing", "--landscape", url)
    assert f"({FAMILY_RUN.pipeline} 2026-01-31, " in missed.err


@pytest.mark.parametrize("length", [3, 8, 20, 36])
def test_a_run_is_found_by_any_unique_beginning_of_its_id(
    cli: InProcess, finished: Finished, length: int
) -> None:
    run_id = finished.document["run"]["run_id"]
    assert _document(cli, finished.project, "show", run_id[:length])["run"]["run_id"] == run_id


def test_a_run_that_is_not_there_is_answered_with_the_latest_ones(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "show", "zzz")
    assert said.status == 2
    assert "There is no run 'zzz'." in said.err
    assert f"the latest are {finished.key} (moods" in said.err


def test_show_has_nodes_pools_files_and_attempts_within_80_columns(
    cli: InProcess, finished: Finished
) -> None:
    said = cli(finished.project.folder, "show", finished.key)
    assert said.status == 0
    for part in (
        "Nodes",
        "Models",
        "Pools",
        "Failed rows",
        "Files",
        "Attempts",
        "out/angry.csv",
        "content_filtered",
    ):
        assert part in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_failures_are_grouped_with_examples(cli: InProcess, finished: Finished) -> None:
    groups = _document(cli, finished.project, "failures", finished.key)["failures"]
    assert [(group["node_id"], group["code"], group["count"], group["went_to"]) for group in groups] == [
        ("source", "wrong_type", 1, "bad"),
        ("judge", "content_filtered", 1, "failures"),
    ]
    assert [group["examples"][0]["row_index"] for group in groups] == [INVALID_ROW, FILTERED_ROW]
    assert groups[0]["examples"][0]["message"] == 'id should be int, was text: "no number"'
    said = cli(finished.project.folder, "failures", finished.key)
    assert "judge  content_filtered  1 row, sent to failures" in said.out


# Explain -------------------------------------------------------------------------------------------------------------


def _written(finished: Finished) -> tuple[str, int, int]:
    """A row that was written to a sink: the sink, its place there, its id."""
    rows = finished.project.jsonl("out/rest.jsonl")
    return "rest", 2, int(rows[1]["id"])


def test_the_story_of_a_row_tells_its_way_in_words(cli: InProcess, finished: Finished) -> None:
    sink, place, row = _written(finished)
    said = cli(finished.project.folder, "explain", finished.key, "--row", str(row))
    assert said.status == 0
    story = " ".join(said.out.split("\n\n")[0].split())
    assert f'Row {row} came from in.csv with id {row}, text "row-{row}.".' in story
    assert "judge asked fake (1 call, " in story
    assert "): mood calm." in story
    assert "triage sent it to rest because no route was true (row.mood == 'angry' with mood=calm)." in story
    assert story.endswith(f"It ended in out/{sink}.jsonl, line {place}.")
    assert f"How does the writer feel? row-{row}." in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_the_document_of_a_row_is_complete(cli: InProcess, finished: Finished) -> None:
    _, place, row = _written(finished)
    document = _document(cli, finished.project, "explain", finished.key, "--row", str(row))
    assert document["row"]["data"]["value"] == {"id": row, "text": f"row-{row}."}
    (token,) = document["tokens"]
    assert [visit["node_id"] for visit in token["visits"]] == ["judge", "triage", "rest"]
    judge, triage, _ = token["visits"]
    assert judge["change"] == {"added": {"mood": "calm"}, "removed": {}, "changed": {}}
    (call,) = judge["calls"]
    assert call["status"] == "answered"
    assert call["http_status"] == 200
    assert call["messages"][-1]["content"] == f"How does the writer feel? row-{row}."
    assert json.loads(call["answer"]) == {"mood": "calm"}
    assert call["cost_usd"] > 0
    assert judge["context"]["pool"]["submit_index"] >= 0
    assert triage["routing"]["tested"] == [
        {"port": "angry", "expression": "row.mood == 'angry'", "values": {"mood": "calm"}}
    ]
    assert token["outcome"]["written"]["position"] == place


def test_a_token_is_explained_as_its_row_is(cli: InProcess, finished: Finished) -> None:
    by_row = _document(cli, finished.project, "explain", finished.key, "--row", "3")
    token_id = by_row["tokens"][0]["token_id"]
    by_token = _document(cli, finished.project, "explain", finished.key, "--token", token_id)
    assert by_token == by_row


def test_a_failed_rows_story_says_why_and_where_it_went(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "explain", finished.key, "--row", str(FILTERED_ROW))
    story = " ".join(said.out.split("\n\n")[0].split())
    assert "judge asked fake (2 calls" in story
    assert "and failed it: " in story
    assert "(content_filtered)" in story
    assert "It ended in out/failures.jsonl, line 1." in story


def test_a_quarantined_rows_story_names_its_violations(cli: InProcess, finished: Finished) -> None:
    said = cli(finished.project.folder, "explain", finished.key, "--row", str(INVALID_ROW))
    story = " ".join(said.out.split("\n\n")[0].split())
    assert "It did not fit the declared columns: id should be int, was text (wrong_type)." in story
    assert "It was quarantined in out/bad.jsonl, line 1." in story


def test_a_row_or_token_that_is_not_there_is_answered_with_what_is(
    cli: InProcess, finished: Finished
) -> None:
    row = cli(finished.project.folder, "explain", finished.key, "--row", str(ROWS))
    token = cli(finished.project.folder, "explain", finished.key, "--token", "x")
    assert (row.status, token.status) == (2, 2)
    assert f"its rows are 0 to {ROWS - 1}" in row.err
    assert f"as {finished.key}-000000000" in token.err


def test_purged_bodies_say_so_and_the_evidence_stays(
    cli: InProcess, finished: Finished, tmp_path: Any
) -> None:
    copy = copy_of(finished.project, tmp_path)
    tamper(copy, "DELETE FROM payloads", "DELETE FROM row_salts")
    said = cli(tmp_path, "explain", finished.key, "--row", "3", "--landscape", copy.landscape_url)
    assert said.status == 0
    assert "its values were purged" in said.out
    assert "purged: only its hash is left" in said.out
    assert "triage sent it to" in said.out
    verified = cli(tmp_path, "verify", finished.key, "--landscape", copy.landscape_url)
    assert verified.status == 0
    assert "bodies were purged" in verified.out
