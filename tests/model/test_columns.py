"""What a source's columns promise: right values are typed, wrong ones are all named, none is guessed."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.columns import Column, ColumnType, ExtraColumns, RowReader, coerce, parse_columns
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX, normalised

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def _short(value: object) -> str:
    """A test's id: some of these values are too long to be written out."""
    if isinstance(value, int) and abs(value) > 2**64:
        return "huge integer"
    return str(value)[:30]


def _one(declared: str, value: object, *, from_text: bool = True) -> tuple[JSON, list[str]]:
    row, violations = coerce({"x": value}, parse_columns({"x": declared}), extra="keep", from_text=from_text)
    return (row or {}).get("x"), [violation.code for violation in violations]


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("str", " kept as it is ", " kept as it is "),
        ("int", "12", 12),
        ("int", " -7 ", -7),
        ("int", "+007", 7),
        ("int", "9007199254740991", SAFE_INTEGER_MAX),
        ("int", "-9007199254740991", -SAFE_INTEGER_MAX),
        ("int", "00000000000000000000000012", 12),
        ("float", "1e3", 1000.0),
        ("float", " .5 ", 0.5),
        ("float", "-0.1", -0.1),
        ("bool", "TRUE", True),
        ("bool", " no ", False),
        ("bool", "1", True),
        ("bool", "0", False),
        ("date", "2026-01-31", "2026-01-31"),
        ("date", "20260131", "2026-01-31"),
        ("datetime", "2026-01-31T09:30:00", "2026-01-31T09:30:00Z"),
        ("datetime", "2026-01-31T09:30:00+12:00", "2026-01-30T21:30:00Z"),
        ("datetime", "2026-01-31 09:30:00.000250Z", "2026-01-31T09:30:00.000250Z"),
        ("datetime", "2026-01-31", "2026-01-31T00:00:00Z"),
        ("decimal", "+012.50", "12.50"),
        ("decimal", "1E3", "1000"),
        ("decimal", "-0.00", "0.00"),
        ("json", ' {"a": [1, null]} ', {"a": [1, None]}),
        ("json", "3", 3),
        ("float?", "", None),
        ("int?", "  ", None),
        ("str?", "", None),
    ],
    ids=_short,
)
def test_text_becomes_the_declared_type(declared: str, text: str, value: JSON) -> None:
    found, codes = _one(declared, text)

    assert codes == []
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("declared", "text", "code"),
    [
        ("int", "12abc", "wrong_type"),
        ("int", "1_000", "wrong_type"),
        ("int", "1e3", "wrong_type"),
        ("int", "3.0", "wrong_type"),
        ("int", "0x1f", "wrong_type"),
        ("int", "١٢", "wrong_type"),
        ("int", "²", "wrong_type"),
        ("int", "--1", "wrong_type"),
        ("int", "NaN", "not_a_number"),
        ("int", "9007199254740992", "integer_too_large"),
        ("int", "-9007199254740992", "integer_too_large"),
        ("int", "9" * 10_000, "integer_too_large"),
        ("float", "nan", "not_a_number"),
        ("float", "-Infinity", "not_a_number"),
        ("float", "1e999", "not_a_number"),
        ("float", "1_0.5", "wrong_type"),
        ("float", "1,5", "wrong_type"),
        ("float", "١٢", "wrong_type"),
        ("float", "$5", "wrong_type"),
        ("bool", "2", "wrong_type"),
        ("bool", "truth", "wrong_type"),
        ("date", "31/01/2026", "wrong_type"),
        ("date", "2026-02-30", "wrong_type"),
        ("date", "2026-01-31T00:00:00", "wrong_type"),
        ("datetime", "yesterday", "wrong_type"),
        ("datetime", "0001-01-01T00:00:00+12:00", "wrong_type"),
        ("decimal", "12,50", "wrong_type"),
        ("decimal", "Infinity", "not_a_number"),
        ("decimal", "1_0", "wrong_type"),
        ("decimal", "1e999999999", "wrong_type"),
        ("decimal", "1e99999999999999999999999", "wrong_type"),
        ("decimal", "9" * 5_000, "wrong_type"),
        ("json", "{'a': 1}", "not_json"),
        ("json", '{"a": 1, "a": 2}', "duplicate_key"),
        ("json", '{"a": NaN}', "not_a_number"),
        ("json", "[" * 100_000, "not_json"),
        ("json", "9" * 10_000, "integer_too_large"),
        ("json", "9" * 400, "integer_too_large"),
        ("str", "", "missing_field"),
        ("int", "   ", "missing_field"),
        ("json", "", "missing_field"),
        ("str", "half of a pair: \ud83d", "not_utf8"),
    ],
    ids=_short,
)
def test_text_that_is_something_else_is_refused_and_named(declared: str, text: str, code: str) -> None:
    assert _one(declared, text) == (None, [code])


@pytest.mark.parametrize(
    ("declared", "given_value", "value"),
    [
        ("int", 3, 3),
        ("int", 3.0, 3),
        ("int", Decimal(5), 5),
        ("float", 3, 3.0),
        ("float", Decimal("0.5"), 0.5),
        ("bool", False, False),
        ("str", "", ""),
        ("decimal", 12.5, "12.5"),
        ("decimal", 7, "7"),
        ("decimal", "1.50", "1.50"),
        ("date", dt.date(2026, 1, 31), "2026-01-31"),
        ("datetime", dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC), "2026-01-31T09:00:00Z"),
        ("json", {"a": [True, None]}, {"a": [True, None]}),
        ("str?", None, None),
    ],
    ids=_short,
)
def test_a_value_of_the_declared_type_is_taken(declared: str, given_value: object, value: JSON) -> None:
    found, codes = _one(declared, given_value, from_text=False)

    assert codes == []
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("declared", "given_value", "code"),
    [
        ("int", "3", "wrong_type"),
        ("int", True, "wrong_type"),
        ("int", 3.5, "wrong_type"),
        ("int", 2**53, "integer_too_large"),
        ("int", 1e300, "integer_too_large"),
        ("int", Decimal("1e999999"), "integer_too_large"),
        ("int", math.nan, "not_a_number"),
        ("float", "3", "wrong_type"),
        ("float", True, "wrong_type"),
        ("float", math.inf, "not_a_number"),
        ("float", 10**400, "not_a_number"),
        ("str", 3, "wrong_type"),
        ("bool", 1, "wrong_type"),
        ("bool", "true", "wrong_type"),
        ("date", 20260131, "wrong_type"),
        ("date", dt.datetime(2026, 1, 31, tzinfo=dt.UTC), "wrong_type"),
        ("decimal", True, "wrong_type"),
        ("decimal", math.nan, "not_a_number"),
        ("decimal", 10**5000, "wrong_type"),
        ("json", {"a": math.nan}, "not_a_number"),
        ("json", {"a": ["\ud800"]}, "not_utf8"),
        ("json", {"a": 2**53}, "integer_too_large"),
        ("json", [10**400], "integer_too_large"),
        ("json", {1, 2}, "wrong_type"),
        ("str", None, "missing_field"),
    ],
    ids=_short,
)
def test_a_value_of_another_type_is_refused_and_named(declared: str, given_value: object, code: str) -> None:
    assert _one(declared, given_value, from_text=False) == (None, [code])


def test_every_violation_of_a_record_is_named_not_only_the_first() -> None:
    columns = parse_columns({"id": "int", "text": "str", "amount": "float", "note": "str?"})

    row, violations = coerce({"id": "x", "amount": "nan"}, columns, extra="keep", from_text=True)

    assert row is None
    assert [(v.field, v.code, v.expected, v.actual_type) for v in violations] == [
        ("id", "wrong_type", "int", "text"),
        ("text", "missing_field", "str", "missing"),
        ("amount", "not_a_number", "float", "text"),
    ]


def test_a_violation_inside_a_value_says_where() -> None:
    row, violations = coerce({"x": {"lines": [1, math.nan]}}, (), extra="keep", from_text=False)

    assert row is None
    assert [v.field for v in violations] == ["x.lines[1]"]


def test_a_message_shows_the_value_shortened_and_names_never_do() -> None:
    (violation,) = coerce({"x": "9" * 5_000_000}, parse_columns({"x": "bool"}), extra="keep", from_text=True)[
        1
    ]

    assert "999" in violation.message
    assert len(violation.message) <= 200
    assert "999" not in f"{violation.field}{violation.expected}{violation.actual_type}{violation.code}"


@pytest.mark.parametrize(
    ("extra", "row", "codes"),
    [
        ("keep", {"id": 1, "more": "x"}, []),
        ("drop", {"id": 1}, []),
        ("refuse", None, ["extra_field"]),
    ],
)
def test_undeclared_fields_are_kept_dropped_or_refused(
    extra: ExtraColumns, row: JSON, codes: list[str]
) -> None:
    found, violations = coerce(
        {"more": "x", "id": "1"}, parse_columns({"id": "int"}), extra=extra, from_text=True
    )

    assert found == row
    assert [v.code for v in violations] == codes


def test_a_refused_extra_field_suggests_the_declared_one() -> None:
    columns = parse_columns({"amount": "float?"})

    (violation,) = coerce({"amont": "1"}, columns, extra="refuse", from_text=True)[1]

    assert "Did you mean 'amount'?" in violation.message


def test_an_extra_key_that_utf8_cannot_hold_is_written_out() -> None:
    (violation,) = coerce({"\ud800": 1}, (), extra="keep", from_text=False)[1]

    assert violation.field == "\\ud800"
    assert violation.code == "not_utf8"


def test_a_key_that_the_file_made_up_is_named_short_and_without_nul() -> None:
    (violation,) = coerce({"a\0b" + "c" * 1_000_000: math.nan}, (), extra="keep", from_text=False)[1]

    assert (violation.field or "").startswith("a\\0bccc")
    assert len(violation.field or "") <= 201


def test_an_optional_column_that_is_absent_is_null_beside_an_extra_one() -> None:
    columns = parse_columns({"id": "int", "amount": "float?"})

    assert coerce({"id": "1", "z": "2"}, columns, extra="keep", from_text=True)[0] == {
        "id": 1,
        "amount": None,
        "z": "2",
    }


def test_declared_columns_come_first_and_in_their_order() -> None:
    columns = parse_columns({"b": "int", "a": "int"})

    row, _ = coerce({"z": "1", "a": "2", "b": "3"}, columns, extra="keep", from_text=True)

    assert list(row or {}) == ["b", "a", "z"]


def test_columns_are_parsed_with_their_question_mark() -> None:
    assert parse_columns({"id": "int", "amount": "float?"}) == (
        Column("id", ColumnType.INT),
        Column("amount", ColumnType.FLOAT, optional=True),
    )


def test_every_mistake_in_the_declared_columns_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="'flaot") as caught:
        parse_columns({"a": "flaot?", " b": "int", "c": "text", "": "str"})

    message = str(caught.value)
    assert "Did you mean 'float'?" in message
    assert "' b'" in message
    assert "'text'" in message
    assert "not ''" in message


@given(st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=5))
def test_whatever_a_kept_record_holds_it_is_a_plain_json_row_or_refused_with_reasons(
    record: dict[str, JSON],
) -> None:
    row, violations = coerce(record, (), extra="keep", from_text=False)

    assert (row is None) == bool(violations)
    if row is not None:
        assert row == normalised(record)
    for violation in violations:
        json.dumps(violation.field).encode()
        assert len(violation.message) <= 200


@given(st.sampled_from(list(ColumnType)), st.text())
def test_any_text_gives_a_json_value_or_one_violation(kind: ColumnType, text: str) -> None:
    row, violations = RowReader([Column("x", kind)], extra="keep", from_text=True)({"x": text})

    assert (row is None) == (len(violations) == 1)
    if row is not None:
        assert normalised(row) == row


@given(st.integers(min_value=-SAFE_INTEGER_MAX, max_value=SAFE_INTEGER_MAX))
def test_an_integer_survives_as_text(number: int) -> None:
    assert _one("int", str(number)) == (number, [])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_as_text(number: float) -> None:
    assert _one("float", repr(number)) == (number, [])


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_a_decimal_keeps_its_value_and_reading_it_again_changes_nothing(number: Decimal) -> None:
    once, codes = _one("decimal", str(number))

    assert codes == []
    assert isinstance(once, str)
    assert Decimal(once) == number
    assert _one("decimal", once) == (once, [])


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_survives_in_utc(moment: dt.datetime) -> None:
    found, codes = _one("datetime", moment.isoformat())

    if not codes:  # the first and last days of the calendar have no UTC form
        assert isinstance(found, str)
        assert found.endswith("Z")
        assert dt.datetime.fromisoformat(found) == moment.astimezone(dt.UTC)
