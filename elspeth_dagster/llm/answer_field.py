"""One field of a declared answer: how it is written, what the model is told of it, and the type that checks it.

Written as a type's name (``float``, ``int?``) or as a mapping (``{type: int, minimum: 1, maximum: 5}``,
``{enum: [calm, worried]}``). Reading collects mistakes instead of raising, so that a declaration's are all shown at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Optional

from pydantic import Field

from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX
from elspeth_dagster.model.suggest import suggest

ENUM_VALUES_MAX = 500
"""OpenAI's limit for a whole schema; a longer list is a lookup, not a choice."""

RANGE_VALUES_MAX = 20
"""As many whole numbers are still a list of choices: marks, levels, stars."""

_SCHEMA_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array"}

_KEYS_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "str": ("enum", "max_length"),
    "int": ("enum", "minimum", "maximum"),
    "float": ("minimum", "maximum"),
    "bool": (),
    "list": ("items",),
}

_BOUNDS = frozenset({"minimum", "maximum", "max_length"})

_KEYS = ("type", "description", "enum", "minimum", "maximum", "max_length", "items")


@dataclass(frozen=True, slots=True)
class AnswerField:
    """One field that the model must return. ``kind`` is one of str, int, float, bool, list."""

    name: str
    kind: str
    nullable: bool = False
    enum: tuple[str | int, ...] = ()
    minimum: float | int | None = None
    maximum: float | int | None = None
    max_length: int | None = None
    items: AnswerField | None = None
    description: str | None = None


def read_field(name: str, declared: JSON, mistakes: list[str]) -> AnswerField | None:
    """Return the field that ``declared`` says, or None after adding what is wrong to ``mistakes``."""
    if isinstance(declared, str):
        declared = {"type": declared}
    if not isinstance(declared, dict):
        mistakes.append(f"{name}: write a type, as 'int', or a mapping, as {{enum: [calm, worried]}}.")
        return None
    before = len(mistakes)
    kind, nullable = _kind(name, declared, mistakes)
    if kind is not None:
        _check_keys(name, declared, kind=kind, mistakes=mistakes)
    description = declared.get("description")
    if description is not None and not isinstance(description, str):
        mistakes.append(f"{name}: description is text.")
        description = None
    enum = _enum(name, declared, kind=kind, mistakes=mistakes)
    minimum, maximum = _bounds(name, declared, kind=kind, mistakes=mistakes)
    max_length = _max_length(name, declared, mistakes)
    items = _items(name, declared, mistakes) if kind == "list" else None
    if kind is None or len(mistakes) > before:
        return None
    return AnswerField(name, kind, nullable, enum, minimum, maximum, max_length, items, description)


def field_schema(field: AnswerField, *, number_bounds: bool) -> dict[str, JSON]:
    """Return the field's JSON schema, of the keywords that strict providers take.

    ``max_length`` is told in the description, since no strict schema takes ``maxLength``. Where ``number_bounds`` is
    false, a short range of whole numbers becomes a list of choices, and other bounds are told in the description.
    """
    kind = _SCHEMA_TYPES[field.kind]
    schema: dict[str, JSON] = {"type": [kind, "null"] if field.nullable else kind}
    told = [field.description] if field.description else []
    choices = field.enum or (() if number_bounds else _range(field))
    if choices:
        schema["enum"] = [*choices, None] if field.nullable else list(choices)
    for key, bound, word in (("minimum", field.minimum, "least"), ("maximum", field.maximum, "most")):
        if bound is not None and number_bounds:
            schema[key] = bound
        elif bound is not None and not choices:
            told.append(f"At {word} {bound}.")
    if field.max_length is not None:
        told.append(f"At most {field.max_length} characters.")
    if field.items is not None:
        schema["items"] = field_schema(field.items, number_bounds=number_bounds)
    if told:
        schema["description"] = " ".join(told)
    return schema


def field_type(field: AnswerField) -> object:
    """Return the annotation with which pydantic checks the field: strict, and within what canonical JSON holds."""
    checked: object
    if field.enum:
        checked = Literal.__getitem__(field.enum)
    elif field.kind == "int":
        least = -SAFE_INTEGER_MAX if field.minimum is None else field.minimum
        most = SAFE_INTEGER_MAX if field.maximum is None else field.maximum
        checked = Annotated[int, Field(strict=True, ge=least, le=most)]
    elif field.kind == "float":
        checked = Annotated[
            float, Field(strict=True, ge=field.minimum, le=field.maximum, allow_inf_nan=False)
        ]
    elif field.kind == "str":
        checked = Annotated[str, Field(strict=True, max_length=field.max_length)]
    elif field.items is not None:
        checked = list.__class_getitem__(field_type(field.items))
    else:
        checked = bool
    return Optional.__getitem__(checked) if field.nullable else checked


def _range(field: AnswerField) -> tuple[int, ...]:
    """The whole numbers between both bounds, if they are few."""
    least, most = field.minimum, field.maximum
    if field.kind != "int" or not isinstance(least, int) or not isinstance(most, int):
        return ()
    return tuple(range(least, most + 1)) if most - least < RANGE_VALUES_MAX else ()


def _kind(name: str, declared: Mapping[str, JSON], mistakes: list[str]) -> tuple[str | None, bool]:
    """The type and whether it may be null. An enum needs no type: its values say it."""
    said = declared.get("type")
    if said is None and "type" not in declared:
        if "enum" in declared:
            values = declared["enum"]
            is_int = isinstance(values, list) and values and all(type(value) is int for value in values)
            return ("int" if is_int else "str"), False
        mistakes.append(
            f"{name}: no type. Types: {', '.join(_SCHEMA_TYPES)}, each with '?' where null is allowed."
        )
        return None, False
    kind = said.removesuffix("?") if isinstance(said, str) else None
    if kind in _SCHEMA_TYPES:
        return kind, said != kind
    hint = suggest(kind, list(_SCHEMA_TYPES)) if kind else ""
    mistakes.append(f"{name}: {said!r} is no type.{hint} Types: {', '.join(_SCHEMA_TYPES)}.")
    return None, False


def _check_keys(name: str, declared: Mapping[str, JSON], *, kind: str, mistakes: list[str]) -> None:
    for key in declared:
        if key not in _KEYS:
            mistakes.append(f"{name}: unknown key {key!r}.{suggest(str(key), list(_KEYS))}")
        elif key not in {"type", "description", *_KEYS_OF_TYPE[kind]}:
            mistakes.append(f"{name}: {key} does not go with type {kind}.")
        elif key in _BOUNDS and "enum" in declared:
            mistakes.append(f"{name}: {key} does not go with enum, which says all that is allowed.")


def _enum(
    name: str, declared: Mapping[str, JSON], *, kind: str | None, mistakes: list[str]
) -> tuple[str | int, ...]:
    if "enum" not in declared or kind is None:
        return ()
    values = declared["enum"]
    if not isinstance(values, list) or not 1 <= len(values) <= ENUM_VALUES_MAX:
        mistakes.append(f"{name}: enum is a list of 1 to {ENUM_VALUES_MAX} values.")
        return ()
    wanted = int if kind == "int" else str
    fitting = [value for value in values if isinstance(value, str | int) and type(value) is wanted]
    if len(fitting) < len(values):
        quotes = (
            " YAML reads yes, no, on and off as true or false: put quotes."
            if True in values or False in values
            else ""
        )
        mistakes.append(f"{name}: enum holds values that are no {wanted.__name__}.{quotes}")
    elif len(set(fitting)) < len(fitting):
        mistakes.append(f"{name}: enum holds a value twice.")
    return tuple(fitting)


def _bounds(
    name: str, declared: Mapping[str, JSON], *, kind: str | None, mistakes: list[str]
) -> tuple[float | None, float | None]:
    if kind not in {"int", "float"}:
        return None, None
    minimum = _bound(name, declared, key="minimum", kind=kind, mistakes=mistakes)
    maximum = _bound(name, declared, key="maximum", kind=kind, mistakes=mistakes)
    if minimum is not None and maximum is not None and minimum > maximum:
        mistakes.append(f"{name}: minimum {minimum} cannot exceed maximum {maximum}.")
    return minimum, maximum


def _bound(
    name: str, declared: Mapping[str, JSON], *, key: str, kind: str, mistakes: list[str]
) -> float | None:
    bound = declared.get(key)
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        mistakes.append(f"{name}: {key} is a number.")
    elif kind == "int" and not isinstance(bound, int):
        mistakes.append(f"{name}: {key} of an int is an int.")
    elif not -SAFE_INTEGER_MAX <= bound <= SAFE_INTEGER_MAX:  # NaN is refused here too
        mistakes.append(f"{name}: {key} is beyond the numbers that JSON holds exactly (2^53-1).")
    else:
        return bound
    return None


def _max_length(name: str, declared: Mapping[str, JSON], mistakes: list[str]) -> int | None:
    length = declared.get("max_length")
    if length is None:
        return None
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        mistakes.append(f"{name}: max_length is a whole number from 1.")
        return None
    return length


def _items(name: str, declared: Mapping[str, JSON], mistakes: list[str]) -> AnswerField | None:
    if declared.get("items") is None:
        mistakes.append(f"{name}: a list names its items, as {{type: list, items: str}}.")
        return None
    items = read_field(f"{name}.items", declared["items"], mistakes)
    if items is not None and items.kind == "list":
        mistakes.append(f"{name}: a list of lists is not offered.")
        return None
    return items
