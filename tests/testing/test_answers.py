"""Answers satisfy the schema they were asked for, and are the same whenever and wherever they are asked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, cast

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing.answers import answer_for
from elspeth_dagster.testing.draws import key_of
from elspeth_dagster.testing.schema import SchemaError

KEYS = st.binary(min_size=8, max_size=8)
NAMES = st.text(min_size=1, max_size=6)
BOUNDS = st.integers(-10_000, 10_000)


def _pruned(**keywords: JSON) -> JSON:
    return {name: value for name, value in keywords.items() if value is not None}


@st.composite
def _integers(pick: st.DrawFn) -> JSON:
    low, width = pick(st.none() | BOUNDS), pick(st.none() | st.integers(0, 50))
    high = None if width is None else (low or 0) + width
    return _pruned(type="integer", minimum=low, maximum=high)


@st.composite
def _numbers(pick: st.DrawFn) -> JSON:
    low = pick(st.floats(-1e12, 1e12) | BOUNDS)
    high = pick(st.none() | st.floats(low + 1, low + 1e9, allow_nan=False))
    ends = pick(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]))
    return _pruned(type="number", **{ends[0]: low, ends[1]: high})


@st.composite
def _strings(pick: st.DrawFn) -> JSON:
    low, more = pick(st.none() | st.integers(0, 60)), pick(st.none() | st.integers(0, 20))
    return _pruned(type="string", minLength=low, maxLength=None if more is None else (low or 0) + more)


def _objects(inner: st.SearchStrategy[JSON]) -> st.SearchStrategy[JSON]:
    @st.composite
    def build(pick: st.DrawFn) -> JSON:
        properties = pick(st.dictionaries(NAMES, inner, max_size=4))
        required = pick(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
        return {
            "type": "object",
            "properties": properties,
            "required": [*required],
            "additionalProperties": False,
        }

    return build()


def _arrays(inner: st.SearchStrategy[JSON]) -> st.SearchStrategy[JSON]:
    @st.composite
    def build(pick: st.DrawFn) -> JSON:
        low, more = pick(st.none() | st.integers(0, 4)), pick(st.none() | st.integers(0, 3))
        high = None if more is None else (low or 0) + more
        return _pruned(type="array", items=pick(inner), minItems=low, maxItems=high)

    return build()


def _any_of(inner: st.SearchStrategy[JSON]) -> st.SearchStrategy[JSON]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": [*options]})


PLAIN: st.SearchStrategy[JSON] = st.one_of(
    _integers(),
    _numbers(),
    _strings(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({}),
    st.sampled_from([{"type": ["string", "null"]}, {"type": ["integer", "boolean", "null"]}]),
    st.lists(st.text(max_size=5) | st.integers() | st.none(), min_size=1, max_size=4).map(
        lambda v: {"enum": [*v]}
    ),
    st.text(max_size=5).map(lambda value: {"const": value}),
    st.sampled_from([{"$ref": "#/$defs/level"}, {"allOf": [{"$ref": "#/$defs/level"}]}]),
)
SCHEMAS = st.recursive(PLAIN, lambda inner: _objects(inner) | _arrays(inner) | _any_of(inner), max_leaves=8)
DEFS: JSON = {"level": {"type": "integer", "minimum": 1, "maximum": 5}}


@given(schema=SCHEMAS, key=KEYS, said=st.text(max_size=30))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_answer_satisfies_its_schema(schema: JSON, key: bytes, said: str) -> None:
    whole: JSON = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": DEFS}

    answer = answer_for(whole, key=key, said=said)

    jsonschema.Draft202012Validator(cast("dict[str, Any]", whole)).validate(json.loads(json.dumps(answer)))
    assert answer_for(whole, key=key, said=said) == answer


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 4},
        {"type": "integer", "minimum": 1.5, "maximum": 2.5},
        {"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 14},
        {"type": "number", "multipleOf": 5, "minimum": 11},
        {"type": "number", "maximum": -500},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 2, "maxItems": 2},
        *({"type": "string", "format": name} for name in ("date", "time", "date-time", "email", "uuid", "other")),
        {"type": "number", "exclusiveMinimum": 0.991, "exclusiveMaximum": 0.994},
        {"type": "number", "multipleOf": 0.5, "minimum": 0.6, "maximum": 3},
        {"properties": {"probability": {"type": "number", "minimum": 0.995}}},
        {"properties": {"confidence": {"type": "number", "minimum": 0, "maximum": 100}}},
        {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                   {"properties": {"b": {"type": "null"}}, "required": ["b"]}], "required": []},
        {"properties": {"a/b": {"$ref": "#/properties/c~1d"}, "c/d": {"type": "boolean"}}, "required": ["a/b"]},
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}},
        {"oneOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": ["object"], "properties": {"a": {"minimum": 3}}, "required": ["a"]},
        {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {
            "anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["next"]}}},
        {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"leaves": {
            "type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["leaves"]}}},
    ],
)  # fmt: skip
def test_less_common_keywords_are_satisfied_for_many_keys(schema: JSON) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(cast("dict[str, Any]", schema), format_checker=checker)

    answers = [answer_for(schema, key=key_of(str(i).encode()), said="") for i in range(50)]

    for answer in answers:
        validator.validate(answer)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "integer", "minimum": 3, "maximum": 2}, "bounds"),
        ({"type": "integer", "multipleOf": 10, "minimum": 11, "maximum": 19}, "bounds"),
        ({"type": "number", "exclusiveMinimum": 1, "maximum": 1}, "bounds"),
        ({"type": "number", "minimum": float("nan")}, "minimum"),
        ({"type": "string", "pattern": "^x$"}, "pattern"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "length"),
        ({"type": "widget"}, "widget"),
        ({"enum": []}, "enum"),
        ({"anyOf": []}, "alternatives"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"$ref": "#"}, "circle"),
        ({"type": "array", "minItems": 4, "maxItems": 3}, "items"),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2}, "different"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 100_000}, "size"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "size"),
        ({"properties": {"a": False}}, "no schema"),
        ({"properties": []}, "properties"),
        ({"allOf": 1}, "allOf"),
        ({"$ref": "elsewhere.json"}, "point into"),
        ({"type": "number", "multipleOf": -1}, "multipleOf"),
        ({"type": "number", "multipleOf": 10, "minimum": 11, "maximum": 19}, "multiple"),
        ({"type": "integer", "multipleOf": 0.5}, "whole numbers"),
        ([], "not an object"),
    ],
)
def test_a_schema_without_an_answer_is_refused_with_the_reason(schema: JSON, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        answer_for(schema, key=b"12345678", said="")


def test_a_confidence_looks_like_one() -> None:
    schema: JSON = {"properties": {"confidence": {"type": "number", "minimum": 0, "maximum": 1}}}

    answers = [answer_for(schema, key=key_of(bytes([i])), said="") for i in range(100)]

    values = [answer["confidence"] for answer in answers if isinstance(answer, dict)]
    assert all(isinstance(value, float) and 0.5 <= value <= 0.99 for value in values)
    assert len(set(values)) > 20


def test_an_enum_value_that_the_message_says_is_preferred_as_a_word() -> None:
    schema: JSON = {"enum": ["calm", "worried", "angry"]}

    heard = {str(answer_for(schema, key=key_of(bytes([i])), said="I am ANGRY!")) for i in range(30)}
    only_part = {str(answer_for(schema, key=key_of(bytes([i])), said="calmly")) for i in range(30)}

    assert heard == {"angry"}
    assert only_part == {"calm", "worried", "angry"}


def test_one_more_field_leaves_the_others_as_they_were() -> None:
    first: JSON = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    second: JSON = {"properties": {"new": {}, "a": {"type": "integer"}, "b": {"type": "string"}}}

    before = answer_for(first, key=b"12345678", said="")
    after = answer_for(second, key=b"12345678", said="")

    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert {name: after[name] for name in before} == before


def test_another_process_gives_the_same_answer() -> None:
    """String hashing is salted per process: nothing of it may reach an answer."""
    program = (
        "import json; from elspeth_dagster.testing.answers import answer_for;"
        "print(json.dumps(answer_for({'properties': {'a': {}, 'b': {'type': 'number'}}}, key=b'12345678', said='')))"
    )

    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for _ in range(2)
    }

    assert len(outputs) == 1
