"""`python` with `batch: true`: a page of rows through a DataFrame, each row by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.nodes.base import Decision, Emitted, Home, PageDecider
from elspeth_dagster.nodes.python import PythonConfig
from elspeth_dagster.nodes.python_page import PageCaller


def _page(home: Home, body: str, rows: list[Row]) -> list[Decision]:
    (home.base / "rules.py").write_text(f"import pandas as pd\n\n\ndef f(frame):\n    {body}\n", "utf-8")
    config = PythonConfig.model_validate(
        {"kind": "python", "from": "source", "call": "rules:f", "batch": True}
    )
    compiled = config.compile(home)
    assert isinstance(compiled, PageDecider)
    return compiled.decide_page(rows)


def _rejected(found: list[Decision], count: int) -> Rejected:
    assert len(found) == count
    first = found[0]
    assert isinstance(first, Rejected)
    assert found == [first] * count
    return first


def test_a_page_of_rows_is_decided_in_order(home: Home) -> None:
    rows: list[Row] = [{"n": 1}, {"n": 2}, {"n": 3}]

    found = _page(home, "frame['twice'] = frame['n'] * 2; return frame", rows)

    assert found == [
        Emitted({"n": 1, "twice": 2}),
        Emitted({"n": 2, "twice": 4}),
        Emitted({"n": 3, "twice": 6}),
    ]
    assert rows == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_values_come_back_as_they_were(home: Home) -> None:
    rows: list[Row] = [
        {"i": 1, "f": 0.5, "s": "x", "b": True, "n": None, "l": [1, {"a": 2}], "d": {"k": "v"}},
        {"i": None, "f": None, "s": None, "b": None, "n": None, "l": None, "d": None},
    ]

    assert _page(home, "return frame", rows) == [Emitted(row) for row in rows]


def test_a_field_that_only_some_rows_have_stays_absent_in_the_others(home: Home) -> None:
    rows: list[Row] = [{"a": 1}, {"b": "x"}, {"a": None, "b": None}]

    assert _page(home, "return frame", rows) == [Emitted(row) for row in rows]


def test_missing_values_become_null_and_nan_is_refused_for_its_row(home: Home) -> None:
    body = "frame['x'] = pd.array([None, 1], dtype='Int64'); frame['y'] = pd.Series([1.0, float('nan')], dtype=object)"

    found = _page(home, f"{body}; return frame", [{"a": 1}, {"a": 2}])

    assert found[0] == Emitted({"a": 1, "x": None, "y": 1.0})
    assert isinstance(found[1], Rejected)
    assert (found[1].reason, found[1].facts) == ("not_json", {"field": "y"})


@pytest.mark.parametrize(
    ("body", "code", "facts"),
    [
        ("raise ValueError('no')", "step_raised", {"error_type": "ValueError"}),
        ("raise SystemExit", "step_raised", {"error_type": "SystemExit"}),
        ("return frame.head(1)", "batch_wrong_length", {"rows_in": 2, "rows_out": 1}),
        ("return pd.concat([frame, frame])", "batch_wrong_length", {"rows_in": 2, "rows_out": 4}),
        ("return None", "step_returned_no_rows", {"returned": "NoneType"}),
        ("return frame['n']", "step_returned_no_rows", {"returned": "Series"}),
        ("return frame.sort_values('n', ascending=False)", "batch_wrong_order", {}),
        ("return pd.concat([frame, frame], axis=1)", "batch_columns_doubled", {}),
    ],
)
def test_what_is_wrong_with_the_page_is_every_rows_error(
    home: Home, body: str, code: str, facts: dict[str, object]
) -> None:
    rejected = _rejected(_page(home, body, [{"n": 1}, {"n": 2}]), 2)

    assert (rejected.reason, rejected.facts) == (code, facts)


def test_a_column_whose_name_is_no_text_is_refused(home: Home) -> None:
    rejected = _rejected(_page(home, "frame[0] = 1; return frame", [{"n": 1}, {"n": 2}]), 2)

    assert rejected.reason == "not_json"


def test_an_empty_page_calls_nobody(home: Home) -> None:
    assert _page(home, "raise ValueError", []) == []


_scalars = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8"))
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), _scalars | st.lists(_scalars, max_size=2), max_size=3),
        max_size=6,
    )
)
def test_a_function_that_changes_nothing_changes_nothing(rows: list[Row]) -> None:
    caller = PageCaller("rules:f", lambda frame: frame)

    assert caller.decide_page(rows) == [Emitted(row) for row in rows]
