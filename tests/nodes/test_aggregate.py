"""What an aggregate's `run` makes of one batch: statistics, or what a function of a DataFrame says."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import Row
from elspeth_dagster.nodes.aggregate import LINKS_MAX, AggregateConfig
from elspeth_dagster.nodes.base import Home
from elspeth_dagster.nodes.batch_python import PythonRunConfig
from elspeth_dagster.nodes.batch_run import BatchResult
from elspeth_dagster.nodes.batch_stats import Stats


def _config(run: dict[str, Any], **keys: Any) -> AggregateConfig:
    return AggregateConfig.model_validate(
        {"kind": "aggregate", "from": "source", "trigger": {"count": 3}, "run": run, **keys}
    )


def _python(home: Home, body: str, rows: list[Row], **keys: Any) -> BatchResult:
    (home.base / "rules.py").write_text(f"import pandas as pd\n\n\ndef f(frame):\n    {body}\n", "utf-8")
    config = _config({"kind": "python", "call": "rules:f"}, **keys)
    assert isinstance(config.run, PythonRunConfig)
    made = config.run.compile(home, is_passthrough=config.is_passthrough).decide_batch(rows, {})
    return config.checked(made, members=len(rows))


def _stats(*fields: str, group_by: tuple[str, ...] = ()) -> Stats:
    return Stats(fields, group_by)


def test_statistics_stand_behind_the_fields_of_the_group_in_the_order_the_groups_came() -> None:
    rows: list[Row] = [{"mood": "sad", "n": 2}, {"mood": "glad", "n": 5}, {"mood": "sad", "n": 4}]

    made = _stats("n", group_by=("mood",)).decide_batch(rows, {"bank": "x"})

    assert made == Succeeded(
        [
            {"bank": "x", "mood": "sad", "n_count": 2, "n_sum": 6, "n_mean": 3.0, "n_min": 2, "n_max": 4},
            {"bank": "x", "mood": "glad", "n_count": 1, "n_sum": 5, "n_mean": 5.0, "n_min": 5, "n_max": 5},
        ]
    )
    assert isinstance(made, Succeeded)
    assert list(made.value[0])[:3] == ["bank", "mood", "n_count"]


def test_nulls_and_missing_fields_are_not_counted_and_nothing_is_made_up_of_none() -> None:
    made = _stats("n").decide_batch([{"n": None}, {}], {})

    assert made == Succeeded([{"n_count": 0, "n_sum": None, "n_mean": None, "n_min": None, "n_max": None}])


def test_a_row_that_statistics_cannot_take_is_refused_before_it_is_in_a_batch() -> None:
    stats = _stats("n", group_by=("mood",))
    refusals: list[tuple[Row, str]] = [
        ({"n": 1}, "missing_field"),
        ({"mood": 1, "n": "7"}, "type_mismatch"),
        ({"mood": 1, "n": True}, "type_mismatch"),
        ({"mood": 1, "n": [1]}, "type_mismatch"),
    ]
    for row, reason in refusals:
        refused = stats.admit(row)
        assert refused is not None
        assert refused.reason == reason
    assert stats.admit({"mood": 1, "n": None}) is None


@given(st.lists(st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9), min_size=1))
def test_sums_are_rounded_once(values: list[float]) -> None:
    made = _stats("n").decide_batch([{"n": value} for value in values], {})

    assert isinstance(made, Succeeded)
    (row,) = made.value
    assert row["n_sum"] == math.fsum(values)
    assert row["n_count"] == len(values)
    assert (row["n_min"], row["n_max"]) == (min(values), max(values))


@pytest.mark.parametrize("values", [[1.7e308, 1.7e308], [2**53 - 1, 2**53 - 1]])
def test_a_sum_that_json_cannot_hold_fails_the_batch(values: list[float]) -> None:
    made = _stats("n").decide_batch([{"n": value} for value in values], {})

    assert isinstance(made, Rejected)
    assert (made.reason, made.facts) == ("not_json", {"field": "n_sum"})


def test_a_function_takes_a_frame_and_gives_a_frame_a_list_or_one_row(home: Home) -> None:
    rows: list[Row] = [{"n": 1}, {"n": 2}, {"n": None}]
    expected = Succeeded([{"total": 3}])

    assert _python(home, "return pd.DataFrame({'total': [frame['n'].sum()]})", rows) == expected
    assert _python(home, "return [{'total': frame['n'].sum()}]", rows) == expected
    assert _python(home, "return {'total': frame['n'].sum()}", rows) == expected


def test_new_rows_may_come_in_any_order_rows_that_go_on_may_not(home: Home) -> None:
    rows: list[Row] = [{"n": 1}, {"n": 2}, {"n": 3}]
    body = "return frame.sort_values('n', ascending=False)"

    assert _python(home, body, rows) == Succeeded([{"n": 3}, {"n": 2}, {"n": 1}])
    made = _python(home, body, rows, output_mode="passthrough")
    assert isinstance(made, Rejected)
    assert made.reason == "batch_wrong_order"


def test_a_field_that_a_row_lacked_stays_absent_where_rows_go_on(home: Home) -> None:
    rows: list[Row] = [{"n": 1, "x": 5}, {"n": 2}]

    made = _python(home, "frame['m'] = frame['n'].mean(); return frame", rows, output_mode="passthrough")

    assert made == Succeeded([{"n": 1, "x": 5, "m": 1.5}, {"n": 2, "m": 1.5}])


@pytest.mark.parametrize(
    ("body", "keys", "reason"),
    [
        ("return frame.head(2)", {"output_mode": "passthrough"}, "batch_wrong_length"),
        ("return frame.head(0)", {}, "step_returned_no_rows"),
        ("return []", {}, "step_returned_no_rows"),
        ("return None", {}, "step_returned_no_rows"),
        ("return 7", {}, "step_returned_no_rows"),
        ("return [1]", {}, "step_returned_no_row"),
        ("return [{'x': {1, 2}}]", {}, "not_json"),
        ("return [{'x': float('nan')}]", {}, "not_json"),
        ("return [{1: 2}]", {}, "not_json"),
        ("return frame / 0 + missing", {}, "step_raised"),
        ("raise SystemExit(3)", {}, "step_raised"),
        ("return pd.DataFrame([[1, 2]], columns=['a', 'a'])", {}, "batch_columns_doubled"),
        ("return frame", {"expected_output_count": 1}, "unexpected_output_count"),
    ],
)
def test_what_a_function_does_wrong_is_the_batchs_error(
    home: Home, body: str, keys: dict[str, Any], reason: str
) -> None:
    made = _python(home, body, [{"n": 1}, {"n": 2}, {"n": 3}], **keys)

    assert isinstance(made, Rejected)
    assert made.reason == reason
    assert made.message


def test_records_of_parents_are_bounded() -> None:
    config = _config({"kind": "stats", "fields": ["n"]})
    rows: list[Row] = [{}] * 1_000

    made = config.checked(Succeeded(rows), members=LINKS_MAX // 1_000 + 1)

    assert isinstance(made, Rejected)
    assert made.reason == "batch_too_large"
    assert config.checked(Succeeded(rows), members=LINKS_MAX // 1_000) == Succeeded(rows)


def test_the_functions_source_is_part_of_the_decision(home: Home) -> None:
    def decision(body: str) -> object:
        (home.base / "rules.py").write_text(f"def f(frame):\n    {body}\n", "utf-8")
        return _config({"kind": "python", "call": "rules:f"}).decision(home)["run"]

    assert decision("return frame") != decision("return frame.head(1)")
