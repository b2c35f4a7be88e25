"""What the quarantine keeps of a bad record can always be recorded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.files import recordable
from elspeth_dagster.files.record import RAW_CHARS_MAX
from elspeth_dagster.model.canonical import canonical_bytes

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner) | st.tuples(inner),
)


@given(ANYTHING)
def test_anything_can_be_recorded(value: object) -> None:
    assert canonical_bytes(recordable(value))


def test_plain_json_is_kept_as_it_is() -> None:
    value = {"a": [1, None, True, 0.5, "ā"], "b": {"c": "x"}}

    assert recordable(value) == value


def test_what_json_lacks_is_written_out() -> None:
    assert recordable([math.nan, 2**60, "caf\udce9"]) == ["nan", "1152921504606846976", "caf\\udce9"]
    assert recordable(10**5000) == "[a int that cannot be written out]"


def test_what_is_long_is_cut_with_a_note_and_bounded_in_all() -> None:
    cut = recordable({"text": "x" * 3_000_000, "id": 7, "more": ["y"] * 1_000_000, "last": 1})

    assert isinstance(cut, dict)
    assert str(cut["text"]).endswith("x… [cut: 2967232 more characters]")
    assert cut["id"] == 7
    assert cut["…"] == "[cut: 1 more fields]"
    assert len(canonical_bytes(cut)) < RAW_CHARS_MAX + 1000


@pytest.mark.parametrize("character", ["\udc80", "\x01", "ā", '"', "😀"])
def test_no_character_makes_it_more_than_a_payload_holds(character: str) -> None:
    cut = recordable([character * 1_000_000] * 100)

    assert len(canonical_bytes(cut)) < 1024 * 1024


def test_many_small_items_are_cut_too() -> None:
    cut = recordable(list(range(1_000_000)))

    assert isinstance(cut, list)
    assert str(cut[-1]).startswith("[cut: ")
    assert len(canonical_bytes(cut)) < 2 * RAW_CHARS_MAX


def test_what_nests_too_deeply_is_written_out() -> None:
    value: object = 1
    for _ in range(500):
        value = [value]

    assert canonical_bytes(recordable(value))
