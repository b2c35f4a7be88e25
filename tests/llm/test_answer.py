"""Declared answers: what a declaration may say, what the model is told, and what is let through."""

from __future__ import annotations

import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.llm import AnswerField, AnswerSchema
from elspeth_dagster.llm.answer_field import ENUM_VALUES_MAX
from elspeth_dagster.llm.strict_json import TEXT_CHARS_MAX, parse_strict
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX, Row

FULL: dict[str, JSON] = {
    "mood": {"enum": ["calm", "worried"], "description": "How the writer feels."},
    "confidence": "float",
    "level": {"type": "int", "minimum": 1, "maximum": 5},
    "reason": {"type": "str", "max_length": 5},
    "tags": {"type": "list", "items": "str"},
    "sure": "bool",
    "note": "str?",
}
GOOD: Row = {
    "mood": "calm",
    "confidence": 0.5,
    "level": 3,
    "reason": "short",
    "tags": ["a"],
    "sure": True,
    "note": None,
}


def rejected(declaration: dict[str, JSON], content: str) -> Rejected:
    result = AnswerSchema.parse(declaration).validate(content)
    assert isinstance(result, Rejected)
    return result


class TestADeclaration:
    @pytest.mark.parametrize(
        ("declared", "said"),
        [
            ("flot", "level: 'flot' is no type. Did you mean 'float'?"),
            ("", "level: '' is no type"),
            (None, "level: write a type"),
            (3, "level: write a type"),
            (["a", "b"], "level: write a type"),
            ({}, "level: no type"),
            ({"type": 3}, "level: 3 is no type"),
            ({"type": "int", "minimun": 1}, "level: unknown key 'minimun'. Did you mean 'minimum'?"),
            ({"type": "int", "max_length": 3}, "level: max_length does not go with type int"),
            ({"type": "str", "minimum": 3}, "level: minimum does not go with type str"),
            ({"type": "bool", "enum": [True]}, "level: enum does not go with type bool"),
            ({"type": "int", "minimum": 5, "maximum": 1}, "level: minimum 5 cannot exceed maximum 1"),
            ({"type": "int", "minimum": True}, "level: minimum is a number"),
            ({"type": "int", "minimum": 1.5}, "level: minimum of an int is an int"),
            ({"type": "int", "maximum": 2**53}, "level: maximum is beyond the numbers"),
            ({"type": "float", "minimum": float("nan")}, "level: minimum is beyond the numbers"),
            ({"type": "float", "minimum": -(10**400)}, "level: minimum is beyond the numbers"),
            ({"type": "str", "max_length": 0}, "level: max_length is a whole number from 1"),
            ({"type": "str", "max_length": True}, "level: max_length is a whole number from 1"),
            ({"type": "str", "description": 3}, "level: description is text"),
            ({"enum": [1, 2], "minimum": 1}, "level: minimum does not go with enum"),
            ({"enum": []}, "level: enum is a list of 1 to"),
            ({"enum": "calm"}, "level: enum is a list of 1 to"),
            ({"enum": list(range(ENUM_VALUES_MAX + 1))}, "level: enum is a list of 1 to"),
            ({"enum": ["a", "a"]}, "level: enum holds a value twice"),
            ({"enum": ["a", 1]}, "level: enum holds values that are no str."),
            ({"enum": ["maybe", True, False]}, "YAML reads yes, no, on and off"),
            ({"type": "int", "enum": [1, True]}, "level: enum holds values that are no int."),
            ({"type": "list"}, "level: a list names its items"),
            ({"type": "list", "items": "lst"}, "level.items: 'lst' is no type. Did you mean 'list'?"),
            ({"type": "list", "items": {"type": "list", "items": "str"}}, "level: a list of lists"),
        ],
    )
    def test_with_a_mistake_is_refused_by_name(self, declared: JSON, said: str) -> None:
        with pytest.raises(ValueError, match="level") as caught:
            AnswerSchema.parse({"level": declared})
        assert said in str(caught.value)

    def test_is_refused_with_every_mistake_at_once(self) -> None:
        with pytest.raises(ValueError, match="_c") as caught:
            AnswerSchema.parse({"a": "x", "b": {"type": "int", "items": "str", "minimum": ""}, "_c": "int"})
        assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["a", "b", "b", "_c"]

    @pytest.mark.parametrize("name", ["", "_x", "a b", "größe", "a.b", "1a", "x" * 65])
    def test_names_fields_that_a_prompt_can_read(self, name: str) -> None:
        with pytest.raises(ValueError, match="a field's name is of"):
            AnswerSchema.parse({name: "int"})

    @pytest.mark.parametrize("count", [0, 101])
    def test_has_at_least_one_field_and_not_too_many(self, count: int) -> None:
        with pytest.raises(ValueError, match="1 to 100 fields"):
            AnswerSchema.parse({f"f{i}": "int" for i in range(count)})

    def test_may_use_names_that_pydantic_uses(self) -> None:
        names = ["copy", "json", "schema", "model_dump", "model_config", "dict", "f0", "class", "self"]
        with warnings.catch_warnings(action="error"):
            schema = AnswerSchema.parse(dict.fromkeys(reversed(names), "int"))
        row: Row = {name: number for number, name in enumerate(reversed(names))}
        assert schema.validate(json.dumps(row)) == Succeeded(row)

    def test_reads_alike_in_its_short_and_its_long_form(self) -> None:
        assert AnswerSchema.parse({"a": "int?"}) == AnswerSchema.parse({"a": {"type": "int?"}})
        assert AnswerSchema.parse({"a": "int"}) != AnswerSchema.parse({"a": "int?"})
        assert AnswerSchema.parse({"a": {"enum": [1, 2]}}).answer_fields == (
            AnswerField("a", "int", enum=(1, 2)),
        )


class TestTheSchemaThatIsSent:
    def test_requires_every_field_and_allows_no_other(self) -> None:
        assert AnswerSchema.parse(FULL).json_schema("answer") == {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "mood": {
                        "type": "string",
                        "enum": ["calm", "worried"],
                        "description": "How the writer feels.",
                    },
                    "confidence": {"type": "number"},
                    "level": {"type": "integer", "minimum": 1, "maximum": 5},
                    "reason": {"type": "string", "description": "At most 5 characters."},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "sure": {"type": "boolean"},
                    "note": {"type": ["string", "null"]},
                },
                "required": ["mood", "confidence", "level", "reason", "tags", "sure", "note"],
                "additionalProperties": False,
            },
        }

    @pytest.mark.parametrize(
        ("declared", "told"),
        [
            ({"type": "int", "minimum": 1, "maximum": 3}, {"type": "integer", "enum": [1, 2, 3]}),
            (
                {"type": "int?", "minimum": 1, "maximum": 2},
                {"type": ["integer", "null"], "enum": [1, 2, None]},
            ),
            (
                {"type": "int", "minimum": 1, "maximum": 21},
                {"type": "integer", "description": "At least 1. At most 21."},
            ),
            (
                {"type": "float", "maximum": 1, "description": "A share."},
                {"type": "number", "description": "A share. At most 1."},
            ),
        ],
    )
    def test_says_bounds_without_keywords_where_those_are_refused(
        self, declared: JSON, told: dict[str, JSON]
    ) -> None:
        schema = AnswerSchema.parse({"level": declared}).json_schema("answer", number_bounds=False)
        assert schema["schema"] == {
            "type": "object",
            "properties": {"level": told},
            "required": ["level"],
            "additionalProperties": False,
        }

    def test_offers_null_among_the_choices_of_a_field_that_may_be_null(self) -> None:
        schema = AnswerSchema.parse({"a": {"type": "str?", "enum": ["x"]}})
        assert (
            json.dumps(schema.json_schema("s")).count('"type": ["string", "null"], "enum": ["x", null]') == 1
        )
        assert schema.validate('{"a": null}') == Succeeded({"a": None})


class TestAnAnswer:
    def test_that_fits_becomes_a_row_in_declared_order(self) -> None:
        result = AnswerSchema.parse(FULL).validate(json.dumps(dict(reversed(GOOD.items()))))
        assert isinstance(result, Succeeded)
        assert list(result.value.items()) == list(GOOD.items())

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("mood", "angry", "type_mismatch"),
            ("mood", None, "type_mismatch"),
            ("confidence", "0.5", "type_mismatch"),
            ("confidence", True, "type_mismatch"),
            ("level", "3", "type_mismatch"),
            ("level", 3.5, "type_mismatch"),
            ("level", True, "type_mismatch"),
            ("level", 0, "type_mismatch"),
            ("level", 6, "type_mismatch"),
            ("level", 2**53, "type_mismatch"),
            ("reason", "longer", "type_mismatch"),
            ("reason", 3, "type_mismatch"),
            ("reason", "\ud800", "invalid_json"),
            ("tags", "a", "type_mismatch"),
            ("tags", ["a", 1], "type_mismatch"),
            ("tags", {"a": 1}, "type_mismatch"),
            ("sure", 1, "type_mismatch"),
            ("sure", "true", "type_mismatch"),
            ("note", 1, "type_mismatch"),
        ],
    )
    def test_with_a_value_of_another_kind_names_the_field(self, field: str, value: JSON, code: str) -> None:
        result = rejected(FULL, json.dumps(GOOD | {field: value}))
        assert (result.reason, result.facts) == (code, {"fields": [field]})

    def test_without_a_field_names_it(self) -> None:
        result = rejected(FULL, '{"mood": "angry"}')
        assert result.reason == "missing_field"
        assert result.facts == {"fields": ["confidence", "level", "reason", "tags", "sure"]}

    def test_without_a_field_that_may_be_null_has_null(self) -> None:
        assert AnswerSchema.parse({"a": "int?"}).validate("{}") == Succeeded({"a": None})

    def test_with_another_field_is_refused_and_its_name_is_no_fact(self) -> None:
        result = rejected({"a": "int"}, '{"a": 1, "the model\'s words": 2}')
        assert result.reason == "unexpected_field"
        assert "the model's words" in result.message
        assert "words" not in json.dumps(dict(result.facts))

    @pytest.mark.parametrize("content", ["[]", "[1]", '"a"', "3", "null", "true"])
    def test_that_is_no_object_is_of_the_wrong_type(self, content: str) -> None:
        assert rejected({"a": "int"}, content).reason == "type_mismatch"

    @pytest.mark.parametrize(
        "content",
        [
            "",
            " ",
            "{",
            '{"a": 1} and more',
            '```json\n{"a": 1}\n```',
            '{"a": NaN}',
            '{"a": Infinity}',
            '{"a": -Infinity}',
            '{"a": 1e999}',
            '{"a": 1, "a": 2}',
            '{"a": 01}',
            "{'a': 1}",
            '\ufeff{"a": 1}',
            '{"a": ' + "9" * 5000 + "}",
            '{"a": ' + "[" * 100_000,
            '{"a": 1' + " " * TEXT_CHARS_MAX + "}",
        ],
    )
    def test_that_is_not_strictly_json_is_refused(self, content: str) -> None:
        assert rejected({"a": "int"}, content).reason == "invalid_json"

    @pytest.mark.parametrize(("written", "value"), [("3.0", 3), ("3e0", 3), ("-0.0", 0), ("3", 3)])
    def test_may_write_an_int_with_an_empty_fraction(self, written: str, value: int) -> None:
        result = AnswerSchema.parse({"a": "int", "b": "float"}).validate(
            f'{{"a": {written}, "b": {written}}}'
        )
        assert isinstance(result, Succeeded)
        assert result.value == {"a": value, "b": float(value)}
        assert [type(made) for made in result.value.values()] == [int, float]

    def test_with_very_many_mistakes_tells_some(self) -> None:
        content = json.dumps({f"x{i}": 1 for i in range(1000)})
        assert len(rejected({"a": "int?"}, content).message.splitlines()) == 20


SCALARS: dict[str, st.SearchStrategy[JSON]] = {
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "int": st.integers(-SAFE_INTEGER_MAX, SAFE_INTEGER_MAX),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40),
    "bool": st.booleans(),
}
OTHERS: dict[str, st.SearchStrategy[JSON]] = {
    "str": st.integers() | st.booleans() | st.just([]) | st.just({}),
    "int": st.text(max_size=3) | st.booleans() | st.just(0.5) | st.just([1]),
    "float": st.text(max_size=3) | st.booleans() | st.just([0.5]),
    "bool": st.sampled_from([0, 1, "true", "", [True]]),
}


@st.composite
def declared_with_row(draw: st.DrawFn) -> tuple[dict[str, JSON], Row, str]:
    """A declaration, a row that fits it, and one of its fields."""
    names = draw(
        st.lists(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), min_size=1, max_size=6, unique=True)
    )
    declaration: dict[str, JSON] = {}
    row: Row = {}
    for name in names:
        kind = draw(st.sampled_from([*SCALARS, "list", "enum"]))
        if kind == "list":
            item = draw(st.sampled_from(list(SCALARS)))
            declaration[name] = {"type": "list", "items": item}
            row[name] = draw(st.lists(SCALARS[item], max_size=4))
        elif kind == "enum":
            values = draw(st.lists(SCALARS["str"], min_size=1, max_size=4, unique=True))
            declaration[name] = {"enum": [*values]}
            row[name] = draw(st.sampled_from(values))
        else:
            optional = draw(st.booleans())
            declaration[name] = f"{kind}?" if optional else kind
            row[name] = draw(SCALARS[kind] | st.none() if optional else SCALARS[kind])
    return declaration, row, draw(st.sampled_from(names))


@given(declared_with_row())
def test_every_row_of_a_declaration_passes_unchanged(case: tuple[dict[str, JSON], Row, str]) -> None:
    declaration, row, _ = case
    assert AnswerSchema.parse(declaration).validate(json.dumps(row)) == Succeeded(row)


@given(declared_with_row(), st.data())
def test_a_row_with_one_value_of_another_type_never_passes(
    case: tuple[dict[str, JSON], Row, str], data: st.DataObject
) -> None:
    declaration, row, name = case
    declared = declaration[name]
    kind = declared.removesuffix("?") if isinstance(declared, str) else "str"
    wrong = data.draw(OTHERS[kind].filter(lambda value: not isinstance(value, list)))
    if isinstance(declared, dict) and "items" in declared:
        wrong = data.draw(st.sampled_from(["", 0, True, None, {}]))
    result = AnswerSchema.parse(declaration).validate(json.dumps(row | {name: wrong}))
    assert isinstance(result, Rejected)
    assert (result.reason, result.facts) == ("type_mismatch", {"fields": [name]})


@given(declared_with_row())
def test_a_row_without_a_field_passes_only_where_null_may_stand(
    case: tuple[dict[str, JSON], Row, str],
) -> None:
    declaration, row, name = case
    result = AnswerSchema.parse(declaration).validate(
        json.dumps({key: value for key, value in row.items() if key != name})
    )
    if str(declaration[name]).endswith("?"):
        assert result == Succeeded(row | {name: None})
    else:
        assert isinstance(result, Rejected)
        assert result.reason == "missing_field"


@given(st.text(max_size=60))
def test_any_text_is_either_a_row_or_a_rejection(content: str) -> None:
    assert isinstance(AnswerSchema.parse({"a": "str"}).validate(content), Succeeded | Rejected)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_strict_json_reads_what_json_writes(value: JSON) -> None:
    assert parse_strict(json.dumps(value)) == value
