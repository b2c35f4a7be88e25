"""`map`: what becomes of a row's fields."""

from __future__ import annotations

import pytest

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home
from elspeth_dagster.nodes.map import MapConfig


def _map(**keys: JSON) -> MapConfig:
    return MapConfig.model_validate({"kind": "map", "from": "source", **keys})


def _decided(home: Home, row: Row, **keys: JSON) -> Decision:
    return _map(**keys).compile(home).decide(row)


def _told(home: Home, columns: Columns, **keys: JSON) -> list[tuple[tuple[str | int, ...], str]]:
    return [(mistake.path, mistake.what) for mistake in _map(**keys).mistakes(columns, home)]


def test_fields_are_renamed_dropped_and_computed(home: Home) -> None:
    decision = _decided(
        home,
        {"a": 1, "b": 2, "c": 3},
        rename={"a": "x"},
        drop=["b"],
        set={"sum": "row.a + row.b", "c": "row.c * 2"},
    )

    assert decision == Emitted({"x": 1, "c": 6, "sum": 3})


def test_two_fields_can_swap_their_names(home: Home) -> None:
    assert _decided(home, {"a": 1, "b": 2}, rename={"a": "b", "b": "a"}) == Emitted({"b": 1, "a": 2})


def test_a_field_can_take_the_name_of_a_dropped_one(home: Home) -> None:
    keys: dict[str, JSON] = {"rename": {"a": "b"}, "drop": ["b"]}

    assert _told(home, ("a", "b"), **keys) == []
    assert _decided(home, {"a": 1, "b": 2}, **keys) == Emitted({"b": 1})
    assert _decided(home, {"b": 2, "a": 1}, **keys) == Emitted({"b": 1})


def test_computed_fields_read_the_row_as_it_came(home: Home) -> None:
    decision = _decided(home, {"a": 1}, set={"a": "row.a + 1", "b": "row.a + 1"})

    assert decision == Emitted({"a": 2, "b": 2})


def test_what_an_expression_cannot_do_is_the_rows_error(home: Home) -> None:
    decision = _decided(home, {"a": "text"}, set={"b": "row.a + 1"})

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("expression_failed", {"field": "b"})


def test_an_undeclared_field_is_never_overwritten_by_a_renamed_one(home: Home) -> None:
    decision = _decided(home, {"a": 1, "b": 2}, rename={"a": "b"})

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("field_exists", {"field": "b"})


def test_a_field_that_is_not_there_cannot_be_renamed_but_can_be_dropped(home: Home) -> None:
    renamed = _decided(home, {"a": 1}, rename={"b": "c"})

    assert isinstance(renamed, Rejected)
    assert (renamed.reason, renamed.facts) == ("missing_field", {"field": "b"})
    assert _decided(home, {"a": 1}, drop=["b"]) == Emitted({"a": 1})


@pytest.mark.parametrize(
    ("keys", "path", "what"),
    [
        ({"rename": {"txt": "body"}}, ("rename", "txt"), "Did you mean 'text'?"),
        ({"rename": {"text": "id"}}, ("rename", "text"), "Field 'id' is there already"),
        ({"rename": {"text": "x", "id": "x"}}, ("rename", "id"), "Field 'text' is renamed to 'x' too"),
        ({"rename": {"text": "x"}, "drop": ["text"]}, ("rename", "text"), "is dropped too"),
        ({"rename": {"text": " x"}}, ("rename", "text"), "without blanks"),
        ({"set": {"": "1"}}, ("set", ""), "without blanks"),
        ({"drop": ["id", "txt"]}, ("drop", 1), "Columns there: id, text."),
        ({"set": {"x": "row.txt"}}, ("set", "x"), "Did you mean 'text'?"),
        ({"set": {"x": "row.__class__"}}, ("set", "x"), "__class__"),
    ],
)
def test_mistakes_name_the_key_and_what_was_meant(
    home: Home, keys: dict[str, JSON], path: tuple[str | int, ...], what: str
) -> None:
    ((found_path, found_what),) = _told(home, ("id", "text"), **keys)

    assert found_path == path
    assert what in found_what


def test_unknown_columns_are_not_judged(home: Home) -> None:
    assert _told(home, None, rename={"a": "b"}, drop=["c"], set={"d": "row.e"}) == []
    assert len(_told(home, None, rename={"a": "x", "b": "x"})) == 1


def test_columns_leave_in_the_order_of_the_row() -> None:
    config = _map(rename={"a": "x"}, drop=["b"], set={"n": "1", "c": "2"})

    assert config.columns_out(("a", "b", "c")) == ("x", "c", "n")
    assert config.columns_out(None) is None
