"""An expand makes a token of each element, in order; what has no list fails, and an empty list makes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.nodes import expand as expand_node
from elspeth_dagster.nodes.expand import ExpandConfig
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.runtime import expand_run
from tests.noderuns import node_runs, sink, source_of

ROWS: list[dict[str, Any]] = [
    {"id": 0, "tags": ["a", {"b": 1}, None]},
    {"id": 1, "tags": []},
    {"id": 2, "tags": "a, b"},
    {"id": 3},
    {"id": 4, "tags": [7]},
]


def expanded(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "name": "expanded",
        "source": source_of(folder, rows, {"id": "int", "tags": "json?"}),
        "steps": {
            "each": {"kind": "expand", "from": "source", "field": "tags", "max_error_rate": 1.0, **more}
        },
        "sinks": {"out": sink("each", name="out"), "bad": sink(name="bad")}
        if "on_error" in more
        else {"out": sink("each", name="out")},
    }


def test_every_element_becomes_a_row_with_its_index_in_order(tmp_path: Path) -> None:
    with node_runs(tmp_path, expanded(tmp_path, ROWS)) as run:
        reports = run.run()
        assert run.rows("out") == [
            {"id": 0, "item_index": 0, "tags": "a"},
            {"id": 0, "item_index": 1, "tags": {"b": 1}},
            {"id": 0, "item_index": 2, "tags": None},
            {"id": 4, "item_index": 0, "tags": 7},
        ]
        assert all(report.balance.holds for report in reports.values())
        assert run.findings() == []


def test_children_trace_to_their_parent(tmp_path: Path) -> None:
    with node_runs(tmp_path, expanded(tmp_path, ROWS)) as run:
        run.run()
        found = run.query(
            "SELECT t.token_id, p.parent_token_id, p.ordinal, p.relation, t.row_id = p.parent_token_id "
            "FROM tokens t JOIN token_parents p USING (token_id) ORDER BY t.order_key"
        )
        assert [(child.rpartition("/")[2], ordinal, how, same) for child, _, ordinal, how, same in found] == [
            ("0", 0, "expand", 1),
            ("1", 0, "expand", 1),
            ("2", 0, "expand", 1),
            ("0", 0, "expand", 1),
        ]
        assert all(child.startswith(f"{parent}/") for child, parent, *_ in found)


def test_an_empty_list_ends_expanded_and_makes_nothing(tmp_path: Path) -> None:
    with node_runs(tmp_path, expanded(tmp_path, ROWS)) as run:
        run.run()
        assert run.outcomes()["1"] == ("expanded", None, None)
        assert not [token for token in run.outcomes() if token.startswith("1/")]


def test_what_has_no_list_fails_with_a_code_of_its_own(tmp_path: Path) -> None:
    with node_runs(tmp_path, expanded(tmp_path, ROWS, on_error="bad")) as run:
        run.run()
        errors = [(row["id"], row["_error"]["code"], row["_error"]["message"]) for row in run.rows("bad")]
        assert errors == [
            (2, "not_a_list", "Field 'tags' is no list: it holds text."),
            (3, "not_a_list", "Field 'tags' is no list: it holds null."),
        ]


def test_a_row_without_the_field_says_so() -> None:
    config = ExpandConfig.model_validate({"kind": "expand", "from": "source", "field": "tags"})
    found = config.items({"id": 1})
    assert isinstance(found, Rejected)
    assert (found.reason, found.message) == ("missing_field", "The row has no field 'tags' to expand.")


def test_long_lists_go_in_several_units_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand_run, "UNIT_RECORDS_MAX", 10)
    rows = [{"id": index, "tags": list(range(7))} for index in range(30)]
    with node_runs(tmp_path, expanded(tmp_path, rows)) as run:
        run.run()
        assert [(row["id"], row["tags"]) for row in run.rows("out")] == [
            (index, item) for index in range(30) for item in range(7)
        ]


def test_a_list_beyond_the_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand_node, "ITEMS_MAX", 3)
    monkeypatch.setattr(expand_run, "EXPANDED_BYTES_MAX", 120)
    rows = [{"id": 0, "tags": [1, 2, 3, 4]}, {"id": 1, "tags": ["x" * 50, "y" * 50]}]
    with node_runs(tmp_path, expanded(tmp_path, rows)) as run:
        run.run()
        assert run.outcomes()["0"] == ("failed", None, "too_many_items")
        assert run.outcomes()["1"] == ("failed", None, "payload_too_large")


def test_a_field_that_is_not_there_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(expanded(tmp_path, ROWS, field="tag"), base=tmp_path)
    assert "Did you mean 'tags'?" in refused.value.mistakes[0]


def test_an_index_is_never_overwritten(tmp_path: Path) -> None:
    declaration = expanded(tmp_path, ROWS)
    declaration["steps"]["again"] = {"kind": "expand", "from": "each", "field": "tags"}
    declaration["sinks"]["out"]["from"] = ["again"]
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(declaration, base=tmp_path)
    assert "Field 'item_index' is there already" in refused.value.mistakes[0]
