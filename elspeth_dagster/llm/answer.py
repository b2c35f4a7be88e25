"""What the model must answer: declared once, sent as a strict JSON schema, checked at once when the answer comes.

Only the declared fields, of the declared types, reach a row. Types are strict: ``"3"`` is no int and ``true`` is no
number; an int is fine where a float is wanted, and ``3.0`` is the int 3. A field declared with ``?`` may be null, and
one that was left out is null: not every provider obeys a strict schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from elspeth_dagster.llm.answer_field import AnswerField, field_schema, field_type, read_field
from elspeth_dagster.llm.strict_json import parse_strict
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.model.row import JSON, Row

FIELDS_MAX = 100
"""The most properties that strict schemas may have at every provider."""

NAME_CHARS_MAX = 64
"""The longest name that OpenAI takes for a property or a schema."""

PROBLEMS_MAX = 20
"""The most mistakes of one answer that are told; more say nothing new."""


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The fields of an answer, in declared order. Made by ``parse``."""

    answer_fields: tuple[AnswerField, ...]
    _checker: type[BaseModel] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, declaration: Mapping[str, JSON]) -> AnswerSchema:
        """Read what stands under ``answer:``.

        Raises:
            ValueError: the declaration has mistakes; its text names each on a line of its own.
        """
        mistakes: list[str] = []
        if not 1 <= len(declaration) <= FIELDS_MAX:
            mistakes.append(f"An answer has 1 to {FIELDS_MAX} fields, not {len(declaration)}.")
        read: list[AnswerField] = []
        for name, declared in declaration.items():
            if not _is_name(name):
                mistakes.append(
                    f"{name}: a field's name is of ASCII letters, digits and '_', begins with a letter, "
                    f"and has at most {NAME_CHARS_MAX} characters."
                )
                continue
            one = read_field(name, declared, mistakes)
            if one is not None:
                read.append(one)
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return cls(tuple(read), _checker(read))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in declared order."""
        return tuple(one.name for one in self.answer_fields)

    def json_schema(self, name: str, *, number_bounds: bool = True) -> dict[str, JSON]:
        """Return the value of ``response_format.json_schema``: every field required, no others allowed.

        ``number_bounds=False`` says the bounds of numbers otherwise, for providers that refuse the keywords.
        """
        properties: dict[str, JSON] = {
            one.name: field_schema(one, number_bounds=number_bounds) for one in self.answer_fields
        }
        schema: dict[str, JSON] = {
            "type": "object",
            "properties": properties,
            "required": list(self.fields),
            "additionalProperties": False,
        }
        return {"name": name, "strict": True, "schema": schema}

    def validate(self, content: str) -> RowResult[Row]:
        """Return the answer's fields as a row, in declared order.

        Or a rejection: ``invalid_json``, ``missing_field``, ``type_mismatch`` (type, choice or bounds) or
        ``unexpected_field``; the first of these that applies. Its ``facts`` name declared fields only.
        """
        try:
            value = parse_strict(content)
        except ValueError as error:
            return Rejected("invalid_json", message=str(error))
        if not isinstance(value, dict):
            return Rejected("type_mismatch", message="The answer is not a JSON object.", facts={"fields": []})
        try:
            checked = self._checker.__pydantic_validator__.validate_python(value)
        except ValidationError as error:
            return _rejection(error)
        return Succeeded(dict(zip(self.fields, vars(checked).values(), strict=True)))


def _is_name(name: object) -> bool:
    """A name that a prompt can say as ``row.name``; what begins with '_' is closed to prompts."""
    return (
        isinstance(name, str)
        and name.isascii()
        and name.isidentifier()
        and not name.startswith("_")
        and len(name) <= NAME_CHARS_MAX
    )


def _checker(fields: list[AnswerField]) -> type[BaseModel]:
    """A model whose attributes are numbered, so that a field may be called ``copy`` or ``model_dump``."""
    definitions: dict[str, Any] = {}
    for number, one in enumerate(fields):
        default = None if one.nullable else ...
        definitions[f"f{number}"] = (field_type(one), Field(default, alias=one.name))
    return create_model("Answer", __config__=ConfigDict(strict=True, extra="forbid"), **definitions)


def _rejection(error: ValidationError) -> Rejected:
    names: dict[str, dict[str, None]] = {}  # by code; a dict keeps the order and drops repeats
    told: list[str] = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        names.setdefault(_code(problem["type"]), {})[name] = None
        if len(told) < PROBLEMS_MAX:
            told.append(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
    code = next(code for code in _CODES if code in names)
    # The name of a field that was not declared is the model's own text: it stays out of the facts.
    facts: dict[str, JSON] = {} if code == "unexpected_field" else {"fields": list(names[code])}
    return Rejected(code, message="\n".join(told), facts=facts)


_CODES = ("invalid_json", "missing_field", "type_mismatch", "unexpected_field")


def _code(kind: str) -> str:
    if kind == "missing":
        return "missing_field"
    if kind == "extra_forbidden":
        return "unexpected_field"
    if kind == "string_unicode":  # half of a surrogate pair: JSON lets it be written, no UTF-8 text holds it
        return "invalid_json"
    return "type_mismatch"
