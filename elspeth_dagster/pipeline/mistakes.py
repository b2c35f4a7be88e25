"""Say what pydantic found in the words of a declaration: the place, what is wrong, and what was probably meant."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Mistake

SHOWN_CHARS_MAX = 30
"""A longer text is no slip of the pen; and it may be a key that was put into the wrong place."""

_EXPECTED = {
    "string_type": "Expected text",
    "bool_type": "Expected true or false",
    "int_type": "Expected a whole number",
    "int_from_float": "Expected a whole number",
    "float_type": "Expected a number",
    "list_type": "Expected a list",
    "dict_type": "Expected names and values",
    "model_type": "Expected keys and values",
    "model_attributes_type": "Expected keys and values",
}
_TYPE_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "keys and values",
}


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Mistake]:
    """Each finding as a mistake with its path."""
    for found in error.errors(include_url=False, include_input=True):
        loc = tuple(part for part in found["loc"] if isinstance(part, str | int))
        path = _without_tags(model, loc)
        if found["type"] == "union_tag_invalid":
            path = (*path, "kind")
        yield Mistake(path, _said(found, model, loc))


def _said(found: ErrorDetails, model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    kind, given = found["type"], found["input"]
    if kind == "extra_forbidden":
        return unknown_key(str(path[-1]), keys_of(_model_at(model, path[:-1])))
    if kind == "union_tag_not_found":
        return "The key 'kind' is missing."
    if kind == "union_tag_invalid":
        return _unknown_kind(found.get("ctx", {}))
    if kind == "missing":
        return f"The key {path[-1]!r} is missing."
    if kind == "value_error":
        said = found["msg"].removeprefix("Value error, ")
        return said if said.endswith((".", ")")) else f"{said}."
    if kind == "literal_error":
        expected = str(found.get("ctx", {}).get("expected", ""))
        options = [option.strip().strip("'") for option in expected.replace(" or ", ", ").split(",")]
        said = repr(given) if len(str(given)) <= SHOWN_CHARS_MAX else "A long text"
        return f"{said} is none of {', '.join(options)}.{suggest(str(given), options)}"
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]}, found {_shown(given)}.{_quotes(kind, given)}"
    # Numbers are shown; texts are not: one of them may be a key that was put into the wrong place.
    shown = f" (it is {given!r})" if isinstance(given, int | float) else ""
    return f"{found['msg']}{shown}."


def _unknown_kind(ctx: Mapping[str, object]) -> str:
    kinds = [kind.strip().strip("'") for kind in str(ctx.get("expected_tags", "")).split(",")]
    tag = str(ctx.get("tag", ""))
    return f"Unknown kind {tag!r}.{suggest(tag, kinds)} Kinds here: {', '.join(kinds)}."


def unknown_key(key: str, keys: tuple[str, ...]) -> str:
    """What to say of a key that nobody knows."""
    return f"Unknown key {key!r}.{suggest(key, keys)} Keys here: {', '.join(keys)}."


def kind_of(value: object) -> str:
    """The type of a value, as people call it."""
    return "nothing" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, bool | int | float) else kind_of(value)


def _quotes(kind: str, given: object) -> str:
    if kind != "string_type" or not isinstance(given, bool | int | float):
        return ""
    said = (
        " YAML reads yes, no, on and off as true and false:" if isinstance(given, bool) else " If it is text,"
    )
    return f"{said} put it in quotes."


def keys_of(model: type[BaseModel] | None) -> tuple[str, ...]:
    """The keys that a model takes, as they are written; one that is never shown is not to be written either."""
    if model is None:
        return ()
    return tuple(field.alias or name for name, field in model.model_fields.items() if not field.exclude)


@dataclass(frozen=True, slots=True)
class _Step:
    """One part of a path: the model that it leads to, if any. A tag is a `kind` that pydantic puts in between."""

    model: type[BaseModel] | None
    is_tag: bool = False


def _steps(model: type[BaseModel] | None, path: tuple[str | int, ...]) -> Iterator[_Step]:
    """Follow a path of keys through dictionaries, optional fields, and models that are told apart by their kind."""
    is_name_next = False
    by_kind: tuple[object, ...] = ()
    for part in path:
        is_tag = False
        if is_name_next:  # a name in a dictionary: its values' model was found already
            is_name_next = False
        elif by_kind:
            model, by_kind, is_tag = _of_kind(by_kind, part), (), True
        elif model is not None:
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            field = fields.get(str(part))
            annotation = None if field is None else field.annotation
            if field is not None and field.discriminator is not None:
                by_kind = typing.get_args(annotation)
            model = _model_in(annotation)
            is_name_next = typing.get_origin(annotation) is dict
        yield _Step(model, is_tag)


def _of_kind(models: tuple[object, ...], kind: object) -> type[BaseModel] | None:
    for model in models:
        if isinstance(model, type) and issubclass(model, BaseModel):
            named = typing.get_args(model.model_fields["kind"].annotation)
            if kind in named:
                return model
    return None


def _without_tags(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part for part, step in zip(loc, _steps(model, loc), strict=True) if not step.is_tag)


def _model_at(model: type[BaseModel] | None, path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that a path of keys leads to."""
    for step in _steps(model, path):
        model = step.model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None
