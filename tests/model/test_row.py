"""What becomes of values that are nearly JSON, and which are refused, where."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.row import DEPTH_MAX, JSON, SAFE_INTEGER_MAX, Row, normalised
from tests.model.json_values import moments, nested, rows

BERLIN = dt.timezone(dt.timedelta(hours=1))
Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - the untyped kind is what libraries give


class Mood(str, enum.Enum):  # noqa: UP042 - the older spelling, whose str() is not its value
    CALM = "calm"


class Grade(enum.IntEnum):
    GOOD = 1


def deep_equal(left: JSON, right: JSON) -> bool:
    """Equal, and of the same plain types: 1 is not True, nor 1.0."""
    return json.dumps(left) == json.dumps(right) and left == right


@given(rows)
def test_plain_json_stays_as_it_is(row: Row) -> None:
    assert deep_equal(normalised(row), row)


@given(moments)
def test_a_moment_keeps_its_place_in_time(moment: dt.datetime) -> None:
    text = normalised({"at": moment})["at"]

    assert isinstance(text, str)
    assert text.endswith("Z")
    assert dt.datetime.fromisoformat(text) == moment


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (dt.datetime(2026, 1, 31, 9, 30, tzinfo=BERLIN), "2026-01-31T08:30:00Z"),
        (dt.datetime(2026, 1, 31, 9, 30, 0, 250), "2026-01-31T09:30:00.000250Z"),  # noqa: DTZ001
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.time(9, 30), "09:30:00"),
        (Decimal("1.50"), "1.50"),
        (Decimal("-0"), "-0"),
        (Mood.CALM, "calm"),
        (Grade.GOOD, 1),
        ((1, 2), [1, 2]),
        (Pair(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        ({Mood.CALM: 1}, {"calm": 1}),
    ],
    ids=repr,
)
def test_what_python_has_and_json_lacks_becomes_plain(value: object, plain: JSON) -> None:
    assert deep_equal(normalised({"a": value})["a"], plain)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),  # noqa: FBT003
        (np.str_("text"), "text"),
        (np.array(3), 3),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.datetime64("2026-01-31T09:30:00"), "2026-01-31T09:30:00Z"),
        (np.datetime64("2026-01-31T09:30:00.000250", "ns"), "2026-01-31T09:30:00.000250Z"),
        (np.datetime64("1970-01-01T00:00:00.000001", "ns"), "1970-01-01T00:00:00.000001Z"),
        (np.array(["2026-01-31"], dtype="datetime64[ns]"), ["2026-01-31T00:00:00Z"]),
        (np.datetime64("2026-01-31"), "2026-01-31"),
        (np.datetime64("NaT"), None),
        (np.datetime64("NaT", "ns"), None),
        (np.ma.masked, None),
    ],
    ids=repr,
)
def test_numpy_becomes_plain(value: object, plain: JSON) -> None:
    assert deep_equal(normalised({"a": value})["a"], plain)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2026-01-31T09:30", tz="Europe/Berlin"), "2026-01-31T08:30:00Z"),
        (pd.Timestamp("2026-01-31"), "2026-01-31T00:00:00Z"),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series(["2026-01-31", None], dtype="datetime64[ns]"), ["2026-01-31T00:00:00Z", None]),
    ],
    ids=repr,
)
def test_pandas_becomes_plain(value: object, plain: JSON) -> None:
    assert deep_equal(normalised({"a": value})["a"], plain)


def test_a_missing_text_that_pandas_keeps_as_nan_is_refused() -> None:
    with pytest.raises(NotJSONError, match="nan is not a number") as refused:
        normalised({"a": pd.Series(["text", None])})

    assert refused.value.field == "a[1]"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "nan is not a number that JSON has"),
        (math.inf, "inf is not a number that JSON has"),
        (np.float64("nan"), "nan is not a number that JSON has"),
        (Decimal("NaN"), "NaN is not a number that JSON has"),
        (Decimal("-Infinity"), "-Infinity is not a number that JSON has"),
        (SAFE_INTEGER_MAX + 1, "beyond the integers"),
        (-SAFE_INTEGER_MAX - 1, "beyond the integers"),
        (10**400, "beyond the integers"),
        (np.uint64(2**63), "beyond the integers"),
        ("half of a pair: \ud83d", "lone surrogate"),
        ({"half of a pair: \ud83d": 1}, "lone surrogate"),
        ({1: "one"}, "A key must be a string, not int"),
        ({None: "none"}, "A key must be a string, not NoneType"),
        ({1, 2}, "A set has no JSON form"),
        (frozenset(), "A frozenset has no JSON form"),
        (b"bytes", "A bytes has no JSON form"),
        (bytearray(b"bytes"), "A bytearray has no JSON form"),
        (dt.timedelta(1), "A timedelta has no JSON form"),
        (dt.datetime(1, 1, 1, tzinfo=BERLIN), "outside the years"),
        (np.timedelta64(5, "ns"), "A timedelta64 has no JSON form"),
        (np.timedelta64(5, "s"), "A timedelta64 has no JSON form"),
        (np.datetime64(2**62, "us"), "A datetime64 has no JSON form"),
        (np.longdouble(1), "A longdouble has no JSON form"),
        (np.complex128(1), "A complex has no JSON form"),
        (np.float64, "A type has no JSON form"),
        (pd.Timedelta("1s"), "A Timedelta has no JSON form"),
        (pd.DataFrame({"a": [1]}), "A DataFrame has no JSON form"),
        (object(), "A object has no JSON form"),
        (range(3), "A range has no JSON form"),
        (iter([1]), "A list_iterator has no JSON form"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_what_has_no_json_form_is_refused_with_its_field(value: object, why: str) -> None:
    with pytest.raises(NotJSONError, match=why) as refused:
        normalised({"order": {"lines": ["fine", value]}})

    assert refused.value.field.startswith("order.lines[1]")
    assert "order.lines[1]" in str(refused.value)
    str(refused.value).encode()  # an error's own text can always be stored and shown


def test_the_field_of_a_bad_key_is_named_too() -> None:
    with pytest.raises(NotJSONError) as refused:
        normalised({"order": {"\ud83d": 1}})

    assert refused.value.field == "order.'\\ud83d'"


@pytest.mark.parametrize("row", [{1: "one"}, {b"a": 1}])
def test_a_row_whose_own_keys_are_no_text_is_refused(row: Mapping[str, object]) -> None:
    with pytest.raises(NotJSONError, match="A key must be a string"):
        normalised(row)


def test_a_row_nests_as_deep_as_the_bound_and_no_deeper() -> None:
    deepest = nested(DEPTH_MAX)

    assert normalised(deepest) == deepest
    with pytest.raises(NotJSONError, match=f"at most {DEPTH_MAX} levels"):
        normalised(nested(DEPTH_MAX + 1))


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(NotJSONError, match="levels"):
        normalised({"a": endless})


def test_the_row_that_was_given_is_not_touched() -> None:
    inner: list[object] = [Decimal(1)]
    row = {"a": inner}

    made = normalised(row)

    assert made == {"a": ["1"]}
    assert row == {"a": [Decimal(1)]}


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_keeps_every_digit(number: Decimal) -> None:
    text = normalised({"a": number})["a"]

    assert isinstance(text, str)
    assert Decimal(text).compare_total(number) == 0


@given(
    st.dictionaries(
        st.text(max_size=3), st.floats() | st.integers() | st.text(max_size=5) | st.binary(max_size=3)
    )
)
def test_whatever_is_accepted_can_be_hashed(row: dict[str, object]) -> None:
    try:
        plain = normalised(row)
    except NotJSONError:
        return

    assert canonical_bytes(plain)
