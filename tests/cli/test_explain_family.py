"""`explain` follows a row across forks, joins and batches, both ways, in words and as a tree, within bounds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.model.row import JSON
from tests.cli.conftest import InProcess, Said
from tests.landscape.family import Family, make_family

ROWS = 30
LOST = (4,)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Family:
    folder = tmp_path_factory.mktemp("family")
    (folder / "workspace.yaml").touch()
    database = Database(f"sqlite:///{folder / '.elspeth' / 'landscape.db'}")
    database.ensure_schema()
    family = make_family(database, ROWS, lost=LOST)
    database.dispose()
    return family


def _explain(cli: InProcess, family: Family, *words: str) -> Said:
    said = cli(_folder(family), "explain", family.key, *words)
    assert (said.status, said.err) == (0, "")
    return said


def _folder(family: Family) -> Path:
    assert family.database.url.database is not None
    return Path(family.database.url.database).parents[1]


def _document(cli: InProcess, family: Family, *words: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(_explain(cli, family, *words, "--json").out)
    return made


def test_a_forked_rows_story_leads_through_its_branches_to_the_batch(cli: InProcess, made: Family) -> None:
    text = _explain(cli, made, "--row", "3").text
    row = made.row_id(3)
    assert "views sent it down 2 branches: mood, urgency." in text
    assert f"Token {row}/mood: views made this copy of {row} for its branch mood." in text
    assert f"judged merged it into {row}/join:judged." in text
    assert f"judged merged 2 branches ({row}/mood, {row}/urgency) into it." in text
    assert "mood arrived first, urgency 12 ms later (policy best_effort, merge union)." in text
    assert f"totals took it into batch 0, as the 4th of {ROWS} tokens." in text
    assert f"The batch fired because the input ended, and became {made.output_id}." in text


def test_a_lost_branch_is_named_with_its_reason(cli: InProcess, made: Family) -> None:
    text = _explain(cli, made, "--row", str(LOST[0])).text
    assert "Branch urgency was lost: failed at urgency (invalid_json)." in text
    assert "urgency failed it: invalid_json." in text


def test_a_batchs_output_leads_back_to_its_members(cli: InProcess, made: Family) -> None:
    said = _explain(cli, made, "--token", made.output_id)
    assert f"totals made it of {ROWS} tokens, from row 0 on." in said.text
    assert "fired because the input ended, 2.5 s after its first member." in said.text
    assert f"and {ROWS - 8} more" in said.text


def test_every_line_fits_80_columns(cli: InProcess, made: Family) -> None:
    for words in (("--row", "3"), ("--row", "4"), ("--token", made.output_id)):
        assert max(map(len, _explain(cli, made, *words).out.splitlines())) <= 80


def test_the_document_has_both_directions(cli: InProcess, made: Family) -> None:
    document = _document(cli, made, "--row", "3")
    assert document["tokens_total"] == 4
    root, mood, urgency, merged = document["tokens"]
    assert root["parents"] == {"total": 0, "listed": []}
    assert [child["branch"] for child in root["children"]["listed"]] == ["mood", "urgency"]
    assert [parent["token_id"] for parent in merged["parents"]["listed"]] == [
        mood["token_id"],
        urgency["token_id"],
    ]
    assert merged["made_by_join"]["metadata"]["branches_arrived"] == ["mood", "urgency"]
    assert merged["taken_by_batch"]["ordinal"] == 3
    assert merged["taken_by_batch"]["batch"]["trigger"] == "end_of_source"
    assert merged["outcome"]["outcome"] == "consumed_in_batch"


def test_a_wide_batch_is_cut_and_counted(cli: InProcess, made: Family) -> None:
    (output,) = _document(cli, made, "--token", made.output_id)["tokens"]
    assert output["parents"]["total"] == ROWS
    assert len(output["parents"]["listed"]) == len(output["made_by_batch"]["members"]) == 20


def test_a_row_with_very_many_tokens_says_how_many_more_there_are(
    cli: InProcess, made: Family, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    shutil.copytree(_folder(made), folder)
    database = Database(f"sqlite:///{folder / '.elspeth' / 'landscape.db'}")
    many = Family(database, made.run, made.handles, made.key)
    for number in range(100):
        token_id, order = f"{many.row_id(0)}/{number}", bytes(8) + number.to_bytes(4, "big")
        many.token(token_id, node_id="views", index=0, order=order)
        many.parent(token_id, many.row_id(0), 0, "expand", "views")
    many.store()
    database.dispose()
    said = cli(folder, "explain", made.key, "--row", "0")
    assert "54 more tokens came of this row: ask for one with --token." in said.text
    document = json.loads(cli(folder, "explain", made.key, "--row", "0", "--json").out)
    assert (document["tokens_total"], len(document["tokens"])) == (104, 50)


def test_show_sums_up_joins_and_batches(cli: InProcess, made: Family) -> None:
    said = cli(_folder(made), "show", made.key)
    assert said.status == 0
    assert f"judged {ROWS} merged (best_effort, union)" in said.text
    assert f"first to arrive: mood {ROWS}" in said.text
    assert "lost: urgency 1" in said.text
    assert "waited for the last branch: p50 12 ms, p95 12 ms, most 12 ms" in said.text
    assert f"1 batch at the end of the input, of {ROWS} rows; 1 row made of {ROWS}" in said.text
    assert f"{2 * ROWS - 1} coalesced joined with their siblings" in said.text
    assert max(map(len, said.out.splitlines())) <= 80
    document = json.loads(cli(_folder(made), "show", made.key, "--json").out)
    assert document["joins"][0]["lost"] == {"urgency": 1}
    assert document["batches"][0]["trigger"] == "end_of_source"
    assert document["cost_usd"] is None


def test_a_token_that_a_failed_join_held_says_who_was_missing_and_why(
    cli: InProcess, made: Family, tmp_path: Path
) -> None:
    folder = tmp_path / "held"
    shutil.copytree(_folder(made), folder)
    database = Database(f"sqlite:///{folder / '.elspeth' / 'landscape.db'}")
    held = Family(database, made.run, made.handles, made.key)
    metadata: dict[str, JSON] = {
        "policy": "require_all",
        "merge_strategy": "union",
        "arrival_order": [{"branch": "mood", "token_id": "held", "arrival_offset_ms": 0}],
        "branches_lost": {
            "urgency": {"why": "routed", "node": "triage", "port": "spam", "to": "junk"},
            "tone": {"why": "late", "token_id": "t", "arrival_offset_ms": 9},
        },
        "collisions": [{"field": "score", "branches": ["mood", "tone"], "winner": None}],
        "reason": "branch_lost",
    }
    held.token("held", node_id="views", index=0, order=bytes(9), branch="mood")
    held.parent("held", held.row_id(0), 0, "fork", "views")
    held.state(
        "held", "judged", bytes(9), before=None, after=None, port=None, context={"coalesce": metadata},
        error={"code": "branch_lost"},
    )  # fmt: skip
    held.outcome("held", "failed", "judged", code="branch_lost")
    held.store()
    database.dispose()
    text = cli(folder, "explain", made.key, "--token", "held").text
    assert "judged failed it: branch_lost." in text
    assert "Of its branches, mood arrived first (policy require_all, merge union)." in text
    assert "Branch urgency was lost: routed at triage to junk." in text
    assert "Branch tone was lost: it came too late." in text
    assert "Several branches gave score (mood, tone; none won)." in text
