"""`keyword_filter`: what matches is rejected, what cannot be searched is too, and no pattern can search without end."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Decision, Emitted, Home
from elspeth_dagster.nodes.keyword_filter import TEXT_CHARS_MAX, KeywordFilterConfig
from elspeth_dagster.nodes.kinds import STEP_KINDS
from elspeth_dagster.nodes.pattern import PATTERN_CHARS_MAX, pattern_mistake


def _filter(patterns: JSON, *fields: str) -> KeywordFilterConfig:
    return KeywordFilterConfig.model_validate(
        {"kind": "keyword_filter", "from": "source", "fields": list(fields) or ["text"], "patterns": patterns}
    )


def _decided(home: Home, row: Row, patterns: JSON, *fields: str) -> Decision:
    return _filter(patterns, *fields).compile(home).decide(row)


def test_it_is_a_step_kind() -> None:
    assert STEP_KINDS["keyword_filter"] is KeywordFilterConfig


def test_a_row_in_which_a_pattern_is_found_is_rejected_by_field_and_pattern(home: Home) -> None:
    row: Row = {"title": "hello", "text": "my PassWord is hunter2"}

    assert _decided(home, row, ["card", "(?i)password"], "title", "text") == Rejected(
        "keyword_matched", facts={"field": "text", "pattern": 1}
    )
    assert _decided(home, row, {"greeting": "hel+o", "secret": "x"}, "title") == Rejected(
        "keyword_matched", facts={"field": "title", "pattern": "greeting"}
    )


def test_a_row_in_which_nothing_is_found_goes_on_unchanged(home: Home) -> None:
    row: Row = {"text": "my word", "other": "password"}

    assert _decided(home, row, ["password"]) == Emitted(row)


def test_the_text_is_in_no_part_of_the_rejection(home: Home) -> None:
    decision = _decided(home, {"text": "my password"}, ["password"])

    assert "my" not in json.dumps(decision.facts if isinstance(decision, Rejected) else None)
    assert isinstance(decision, Rejected)
    assert (decision.message, decision.detail) == ("", {})


@pytest.mark.parametrize("value", [["a", "password"], {"deep": ["password"]}, {"password": 1}])
def test_a_word_cannot_hide_in_a_list_or_an_object(home: Home, value: JSON) -> None:
    assert isinstance(_decided(home, {"text": value}, ["password"]), Rejected)


def test_numbers_are_searched_as_they_are_written_and_null_holds_nothing(home: Home) -> None:
    assert isinstance(_decided(home, {"text": 4711}, ["47"]), Rejected)
    assert isinstance(_decided(home, {"text": None}, ["null|None"]), Emitted)


def test_what_cannot_be_searched_is_rejected(home: Home) -> None:
    missing = _decided(home, {"other": "x"}, ["x"])
    too_long = _decided(home, {"text": "x" * (TEXT_CHARS_MAX + 1)}, ["y"])

    assert isinstance(missing, Rejected)
    assert (missing.reason, missing.facts) == ("missing_field", {"field": "text"})
    assert isinstance(too_long, Rejected)
    assert too_long.reason == "text_too_long"
    assert isinstance(_decided(home, {"text": "x" * TEXT_CHARS_MAX}, ["y"]), Emitted)


def test_mistakes_name_the_field_or_the_pattern(home: Home) -> None:
    config = _filter({"good": "a", "bad": "(", "slow": "(a+)+"}, "text", "txt")

    told = [(mistake.path, mistake.what) for mistake in config.mistakes(("id", "text"), home)]

    assert [path for path, _ in told] == [("fields", 1), ("patterns", "bad"), ("patterns", "slow")]
    assert "Did you mean 'text'?" in told[0][1]
    assert "It is no regular expression: missing )" in told[1][1]
    assert "could search without end" in told[2][1]


@pytest.mark.parametrize("patterns", [[], {}, "password", [True], {"a": 1}, None, [["a"]]])
def test_patterns_are_a_list_or_names_of_texts(patterns: JSON) -> None:
    with pytest.raises(ValueError, match="patterns"):
        _filter(patterns)


_SLOW = [
    "(a+)+$", "(a*)*b", "(?:a+){2,}b", "(a|a)*b", "(a|ab)*c", "((a+))+b", "(a?)+b", "(?P<n>a+)*b", "(a{1,3})+b",
    "(?:(?:a+)b?)+c", r"(\w+\s?)*x", "(.*)*x", "(?i)(a|A)*b", "(?:[ab]|a)*c", "(a+){20}b", "(?:x|(?:a+))*y",
]  # fmt: skip


@pytest.mark.parametrize("pattern", _SLOW)
def test_patterns_that_can_search_without_end_are_refused(pattern: str) -> None:
    mistake = pattern_mistake(pattern)

    assert mistake is not None
    assert "without end" in mistake


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(?:credit|debit)\s+card\s+number\b", "(?i)pass(?:word|phrase)?", "(?:foo|bar)+x", "(a|b)*c", "(?:ab)+",
        r"(?:\w++\s)*x", r"(?>\w+\s)*x", r"\(a+\)+", "[(]a+[)]+", r"\d{4}([- ]?)\d{4}", "(?:a+){2,4}", "[]a]+b",
        "(a+)?b", "(?#a+)b", "(?<=a)b+", "(?!a)b", "^$", r"(?P<q>['\"]).*?(?P=q)", "(?i:ab)+", "(x)?(?(1)a|b)",
        r"\[(a+)\]", "[[]a", "a{2}b{1,}", "(?:a{2})+",
    ],
)  # fmt: skip
def test_patterns_of_daily_use_are_taken(pattern: str) -> None:
    assert pattern_mistake(pattern) is None


def test_patterns_that_cannot_be_judged_are_refused() -> None:
    assert "empty" in str(pattern_mistake(""))
    assert "flag `x`" in str(pattern_mistake("(?x) a b"))
    assert "flag `x`" in str(pattern_mistake("a(?ix:b c)"))
    assert "at most" in str(pattern_mistake("a" * (PATTERN_CHARS_MAX + 1)))


_atoms = st.sampled_from(["a", "b", "[ab]", "\\w", "."])
_repeats = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "*?", "++"])


def _grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = st.lists(inner, min_size=1, max_size=2).map("".join)
    choices = st.lists(parts, min_size=1, max_size=2).map("|".join)
    return st.builds("({}){}".format, choices, _repeats)


@given(st.recursive(st.builds("{}{}".format, _atoms, _repeats), _grouped, max_leaves=5))
def test_no_pattern_that_is_taken_needs_exponential_time(pattern: str) -> None:
    if pattern_mistake(f"{pattern}c") is not None:
        return
    compiled = re.compile(f"{pattern}c")

    began_s = time.process_time()
    compiled.search("ab" * 15 + "!")
    compiled.search("a" * 30 + "!")

    assert time.process_time() - began_s < 5
