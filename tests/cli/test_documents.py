"""`--json` is stable: scripts rely on these keys. One may be added; none goes, and none changes its meaning."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape.invariants.finding import Finding
from tests.cli.conftest import Finished, InProcess

DOCUMENTS = {
    "runs": "landscape runs",
    "show": (
        "landscape run status seconds attempts nodes rows_read tokens waiting endings failures artifacts unknown_calls "
        "row_to_explain joins batches cost_usd"
    ),
    "failures": "run_id run_key failures",
    "verify": "exit_status is_clean run status checks counts notes",
    "explain": "run row tokens tokens_total purged_at",
}
TOKEN = "token_id branch created_by_node_id visits outcome parents children made_by_join made_by_batch taken_by_batch"
VISIT = (
    "state_id node_id kind attempt status port took input output change calls routing context error duration_ms "
    "started_at completed_at execution_id record_hash"
)
CALL = (
    "call_id call_index query try_no status provider model_requested model_answered http_status prompt_tokens "
    "completion_tokens cost_usd latency_ms sent_at answered_at reused_from reused_from_run messages answer request "
    "response template_hash variables_hash error"
)
FAILURE = "node_id code count went_to is_quarantine is_discarded examples"


def _document(cli: InProcess, finished: Finished, name: str) -> dict[str, Any]:
    which = [] if name == "runs" else [finished.key]
    row = ["--row", "3"] if name == "explain" else []
    said = cli(finished.project.folder, name, *which, *row, "--json")
    assert (said.status, said.err) == (0, "")
    document: dict[str, Any] = json.loads(said.out)
    return document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_its_keys_and_is_the_only_one(cli: InProcess, finished: Finished, name: str) -> None:
    assert set(_document(cli, finished, name)) >= set(DOCUMENTS[name].split())


def _documented() -> dict[str, set[str]]:
    """The table of docs/reading.md."""
    text = (Path(__file__).parents[2] / "docs" / "reading.md").read_text("utf-8")
    table = text.partition("| document | keys |\n|---|---|\n")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in lines}


def test_the_documentation_names_each_documents_keys(
    cli: InProcess, finished: Finished, tmp_path: Path
) -> None:
    documents: dict[str, dict[str, Any]] = {f"`{name}`": _document(cli, finished, name) for name in DOCUMENTS}
    out = tmp_path / "exported"
    folder = finished.project.folder
    documents["`export`"] = json.loads(cli(folder, "export", finished.key, "--out", str(out), "--json").out)
    documents["`export`, each of `files`"] = documents["`export`"]["files"][0]
    documents["`manifest.json`"] = json.loads((out / "manifest.json").read_text("utf-8"))
    documents["`purge`"] = json.loads(
        cli(folder, "purge", "--older-than", "9000d", "--dry-run", "--json").out
    )
    documents["`run`, `resume`"] = finished.document
    documents["`verify`, each of `checks`"] = documents["`verify`"]["checks"][0]
    documents["`verify`, each of `findings`"] = dataclasses.asdict(Finding("", "", "", ""))
    documents["an error"] = json.loads(cli(folder, "verify", "no such run", "--json").out)
    documents["an error's `error`"] = documents["an error"]["error"]

    documented = _documented()
    documented["`run`, `resume`"] |= documented["`show`"]
    documented["`run`, `resume`"] -= {"show"}
    assert {name: set(document) for name, document in documents.items()} == documented


def test_a_story_has_its_keys_all_the_way_down(cli: InProcess, finished: Finished) -> None:
    (token,) = _document(cli, finished, "explain")["tokens"]
    assert set(token) >= set(TOKEN.split())
    visit = token["visits"][0]
    assert set(visit) >= set(VISIT.split())
    assert set(visit["calls"][0]) >= set(CALL.split())
    assert set(visit["change"]) == {"added", "removed", "changed"}
    assert set(token["outcome"]) >= {"outcome", "node_id", "sink", "error_code", "recorded_at", "written"}


def test_a_failure_has_its_keys(cli: InProcess, finished: Finished) -> None:
    group = _document(cli, finished, "failures")["failures"][0]
    assert set(group) >= set(FAILURE.split())
    assert set(group["examples"][0]) >= {"token_id", "row_index", "message"}
