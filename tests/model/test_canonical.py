"""Canonical JSON: RFC 8785's own examples, the reference package's opinion, and what is refused."""

from __future__ import annotations

import enum
import hashlib
import json
import math
import struct

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.canonical import canonical_bytes, content_hash, parsed, plain_hash, record_hash
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX, Row, normalised
from tests.model.json_values import EDGE_NUMBERS, nested, rows, texts, values

# The published samples of RFC 8785, appendix B: the double's bits, and how it is written.
PUBLISHED_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def double(bits: str) -> float:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert isinstance(number, float)
    return number


class Mood(enum.StrEnum):
    CALM = "calm"


@pytest.mark.parametrize(("bits", "written"), PUBLISHED_NUMBERS.items())
def test_a_published_number_is_written_as_published(bits: str, written: str) -> None:
    assert canonical_bytes(double(bits)) == written.encode()


@pytest.mark.parametrize(("bits", "written"), PUBLISHED_NUMBERS.items())
def test_a_published_number_reads_back_as_the_same_double(bits: str, written: str) -> None:
    assert parsed(written.encode()) == double(bits)


def test_the_published_object_is_written_as_published() -> None:
    given_text = (
        r'{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], '
        r'"string": "\u20ac$\u000F\u000aA'
        r"'"
        r'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    )

    written = canonical_bytes(json.loads(given_text))

    assert written.decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_as_utf_16_sorts_them() -> None:
    keys = ["€", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "ö"]

    written = canonical_bytes(dict.fromkeys(keys, 1))

    assert list(json.loads(written)) == ["\r", "1", "\u0080", "ö", "€", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('"', r"\""), ("\\", r"\\"), ("/", "/"), ("\b\f\n\r\t", r"\b\f\n\r\t"), ("\0", r"\u0000"),
        ("\x1f", r"\u001f"), ("\x7f", "\x7f"), ("\u2028", "\u2028"), ("é", "é"), ("😀", "😀"), ("<&>", "<&>"),
    ],
)  # fmt: skip
def test_only_what_must_be_escaped_is_escaped(text: str, written: str) -> None:
    assert canonical_bytes(text) == f'"{written}"'.encode()


@given(values)
def test_every_value_is_written_as_the_reference_package_writes_it(value: JSON) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20, max_size=40))
def test_every_float_is_written_as_the_reference_package_writes_it(numbers: list[float]) -> None:
    assert [canonical_bytes(number) for number in numbers] == [rfc8785.dumps(number) for number in numbers]


@given(rows)
@example(dict(zip("abcdefghijklmnopqrstuvwxyz", EDGE_NUMBERS, strict=False)))
@example(nested(50))
@example({"text": "é" * 2**19})
def test_what_was_written_reads_back_and_hashes_alike(row: Row) -> None:
    body = canonical_bytes(row)

    again = parsed(body)

    assert again == row
    assert canonical_bytes(again) == body
    assert isinstance(again, dict)
    assert canonical_bytes(normalised(again)) == body


def test_a_float_written_without_exponent_reads_back_as_a_float() -> None:
    again = parsed(canonical_bytes([1e20, -1e20, 2.0**53, float(SAFE_INTEGER_MAX)]))

    assert again == [1e20, -1e20, 2.0**53, SAFE_INTEGER_MAX]
    assert isinstance(again, list)
    assert [type(number) for number in again] == [float, float, float, int]


def test_the_order_of_keys_and_the_kind_of_a_whole_number_do_not_count() -> None:
    assert canonical_bytes({"b": 1.0, "a": -0.0}) == canonical_bytes({"a": 0, "b": 1})


def test_subclasses_of_plain_types_are_written_as_their_values() -> None:
    assert canonical_bytes({"mood": Mood.CALM}) == b'{"mood":"calm"}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, -math.inf, SAFE_INTEGER_MAX + 1, -SAFE_INTEGER_MAX - 1, 10**5000, "\ud800", b"bytes",
        {1, 2}, object(),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int of {value.bit_length()} bits",
)  # fmt: skip
@pytest.mark.parametrize("place", ["alone", "in a list", "in an object"])
def test_what_is_not_json_is_refused(value: JSON, place: str) -> None:
    placed: JSON = {"alone": value, "in a list": ["é", value], "in an object": {"a": value}}[place]

    with pytest.raises(NotJSONError, match="no canonical JSON form"):
        canonical_bytes(placed)


def test_keys_that_are_not_text_are_refused() -> None:
    with pytest.raises(NotJSONError):
        canonical_bytes({1: "one"})  # type: ignore[dict-item]
    with pytest.raises(NotJSONError):
        canonical_bytes({"\udfff": "half a pair"})


def test_what_nests_too_deep_for_the_stack_is_refused() -> None:
    with pytest.raises(NotJSONError):
        canonical_bytes(nested(100_000))


def test_a_content_hash_depends_on_salt_and_body() -> None:
    expected = hashlib.sha256(b"salt" + b"body").digest()

    assert content_hash(b"salt", b"body") == expected
    assert content_hash(b"pepper", b"body") != expected
    assert plain_hash(b"body") == hashlib.sha256(b"body").digest()


def test_a_record_hash_can_be_recomputed_from_the_columns_alone() -> None:
    cells: list[bool | int | float | str | bytes | None] = ["é", 1, 1.5, 1e-7, True, None, b"\x01\xff"]

    by_hand = hashlib.sha256(rb'["rows","\u00e9",1,1.5,1e-07,true,null,"01ff"]').digest()

    assert record_hash("rows", cells) == by_hand


@given(
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), texts, st.binary()), min_size=1), st.data()
)
def test_every_cell_of_a_record_counts(
    cells: list[bool | int | str | bytes | None], data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(cells) - 1))
    changed = [*cells[:position], "changed by somebody", *cells[position + 1 :]]

    assert record_hash("rows", cells) != record_hash("rows", changed)
    assert record_hash("rows", cells) != record_hash("tokens", cells)
