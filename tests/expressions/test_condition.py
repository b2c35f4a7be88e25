"""Gates, conditions and computed fields."""

from __future__ import annotations

import operator
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions import Expression
from elspeth_dagster.model.row import JSON, Row

GATE_COST_US_MAX = 25.0
"""Five times the promise, so that a busy machine does not fail it."""


def _value(source: str, row: Row) -> JSON:
    return Expression.compile(source, where="gate 'triage'").value(row)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("row.n > 2 and row.mood in ['calm', 'angry']", True),
        ("0 < row.n <= 3 < 2", False),
        ("row.n + 0.5", 3.5),
        ("row.n // 2 * 10 - row.n % 2", 9),
        ("row.n / 2", 1.5),
        ("-row.n", -3),
        ("not row.flag", False),
        ("row.flag or row.nowhere", True),
        ("row.mood ~ '/' ~ row.n", "calm/3"),
        ("'high' if row.n > 2 else 'low'", "high"),
        ("row.tags[0]", "a"),
        ("row.tags[-1]", "c"),
        ("row.tags[1:]", ["b", "c"]),
        ("row.mood[::-1]", "mlac"),
        ("{'m': row.mood, 'all': (row.n, 1)}", {"m": "calm", "all": [3, 1]}),
        ("row.tags + ['d']", ["a", "b", "c", "d"]),
        ("row.nothing is none and row.n is number and row.tags is sequence", True),
        ("row.absent is defined", False),
        ("row.absent.deeper is undefined", True),
        ("row.absent.deeper|default(5)", 5),
        ("row.nothing|default('x', true)", "x"),
        ("[]|first|default('none')", "none"),
        ("row.n not in [1, 2]", True),
        ("1 == '1'", False),
        ("row.mood != row.n", True),
        ("range(2, 8, 3)", [2, 5]),
    ],
)
def test_an_expression_gives_what_jinja_would(source: str, value: JSON) -> None:
    row: Row = {"n": 3, "mood": "calm", "flag": True, "tags": ["a", "b", "c"], "nothing": None}

    assert _value(source, row) == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("row.scroe > 1", "There is no field 'scroe' here. Did you mean 'score'?"),
        ("row.absent == 1", "no field 'absent'"),
        ("row.absent or true", "no field 'absent'"),
        ("row.text > 1", "'>' does not compare str with int."),
        ("row.nothing <= 1", "'<=' does not compare null with int."),
        ("row.list < row.text", "'<' does not compare list with str."),
        ("row.text + 1", "'+' does not work between str and int."),
        ("1 in row.score", "'in' does not work between int and int."),
        ("1 / 0", "Division by zero"),
        ("row.score % 0", "Division by zero"),
        ("row.huge * row.huge", "beyond the integers"),
        ("1e300 * 1e300", "no finite number"),
        ("row.nothing.city", "A value of type null has no item 'city'."),
        ("row.list[7]", "There is no item 7: the list has 2."),
        ("row.list|first|upper > 1", "does not compare"),
        ("[]|max", "'max' found nothing"),
        ("row.text|int", "is no whole number"),
        ("row.score.strip()", "has no method 'strip'"),
        ("row.list|sort", "cannot order items of different types"),
        ("row.score|length", "has no length"),
        ("row.list['a']", "has no item 'a'"),
        ("{row.score: 1}", "A field is named by a text"),
    ],
)
def test_what_does_not_fit_is_the_rows_error_with_the_place(source: str, words: str) -> None:
    row: Row = {"score": 1, "text": "x", "nothing": None, "list": [1, "x"], "huge": 2**52}

    with pytest.raises(ExpressionError) as failed:
        _value(source, row)

    assert words in failed.value.what
    assert failed.value.where == "gate 'triage'"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("row.n", "The condition gave 3 (int), not true or false."),
        ("row.tags", "gave a list (list)"),
        ("none", "gave None (null)"),
    ],
)
def test_a_condition_must_be_true_or_false(source: str, words: str) -> None:
    condition = Expression.compile(source, where="gate 'triage'")

    with pytest.raises(ExpressionError) as failed:
        condition.truth({"n": 3, "tags": []})

    assert words in failed.value.what


def test_a_value_shares_nothing_with_the_row_or_the_source() -> None:
    row: Row = {"tags": [{"a": []}]}
    taken, constant = Expression.compile("row.tags", where="set"), Expression.compile("[1, 2]", where="set")
    first, written = taken.value(row), constant.value(row)
    assert isinstance(first, list)
    assert isinstance(written, list)

    first.append("more")
    written.append(3)

    assert row == {"tags": [{"a": []}]}
    assert constant.value(row) == [1, 2]


def test_further_names_are_given_with_the_row() -> None:
    condition = Expression.compile("row.n > batch.mean", where="gate", names={"batch": frozenset({"mean"})})

    assert condition.truth({"n": 3}, batch={"mean": 2.5})
    assert condition.names_read == {"row", "batch"}


def test_the_values_behind_a_decision_are_the_fields_it_reads() -> None:
    condition = Expression.compile("row.n > 2 or row.mood == 'calm'", where="gate")

    assert condition.used_values({"n": 3, "text": "long", "mood": "x"}) == {"n": 3, "mood": "x"}


def test_a_long_chain_of_alternatives_is_no_deep_nesting() -> None:
    condition = Expression.compile(" or ".join(f"row.n == {n}" for n in range(400)), where="gate")

    assert condition.truth({"n": 399})
    assert not condition.truth({"n": 400})


def test_a_gate_costs_microseconds_a_row() -> None:
    condition = Expression.compile('row.urgency >= 4 or row.mood == "angry"', where="gate")
    row: Row = {"urgency": 3, "mood": "calm", "text": "x" * 1000}

    fastest_s = min(timeit.repeat(lambda: condition.value(row), number=1000, repeat=5)) / 1000

    assert fastest_s * 1e6 < GATE_COST_US_MAX


NUMBERS = (
    st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
COMPARISONS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@given(left=NUMBERS, right=NUMBERS, symbol=st.sampled_from(sorted(COMPARISONS)))
def test_comparing_numbers_agrees_with_python(left: float, right: float, symbol: str) -> None:
    condition = Expression.compile(f"row.a {symbol} row.b", where="gate")

    assert condition.truth({"a": left, "b": right}) is COMPARISONS[symbol](left, right)


@given(left=st.text(), right=st.text(), symbol=st.sampled_from(sorted(COMPARISONS)))
def test_comparing_texts_agrees_with_python(left: str, right: str, symbol: str) -> None:
    condition = Expression.compile(f"row.a {symbol} row.b", where="gate")

    assert condition.truth({"a": left, "b": right}) is COMPARISONS[symbol](left, right)


@given(bits=st.lists(st.booleans(), min_size=3, max_size=3))
def test_logic_agrees_with_python(bits: list[bool]) -> None:
    a, b, c = bits
    condition = Expression.compile("row.a and not row.b or row.c and row.a", where="gate")

    assert condition.truth({"a": a, "b": b, "c": c}) is ((a and not b) or (c and a))
