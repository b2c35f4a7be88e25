"""Say what pydantic found in the words of a declaration: the place, what is wrong, and what was probably meant."""

from __future__ import annotations

import typing
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Mistake


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Mistake]:
    """Each finding as a mistake with its path."""
    for found in error.errors(include_url=False, include_input=True):
        path = tuple(part for part in found["loc"] if isinstance(part, str | int))
        yield Mistake(path, _said(found, model, path))


def _said(found: ErrorDetails, model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    if found["type"] == "extra_forbidden":
        keys = keys_of(_model_at(model, path[:-1]))
        return f"Unknown key {path[-1]!r}.{suggest(str(path[-1]), keys)} Keys here: {', '.join(keys)}."
    if found["type"] == "missing":
        return f"The key {path[-1]!r} is missing."
    if found["type"] == "value_error":
        return found["msg"].removeprefix("Value error, ")
    if found["type"] == "literal_error":
        expected = str(found.get("ctx", {}).get("expected", ""))
        options = [option.strip().strip("'") for option in expected.replace(" or ", ", ").split(",")]
        return f"{found['input']!r} is none of {', '.join(options)}.{suggest(str(found['input']), options)}"
    return f"{found['msg']} (it is {type(found['input']).__name__})"


def keys_of(model: type[BaseModel] | None) -> tuple[str, ...]:
    """The keys that a model takes, as they are written."""
    if model is None:
        return ()
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel] | None, path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that a path of keys leads to, through dictionaries and optional fields."""
    for part in path:
        if model is None:
            return None
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            continue  # a key of a dictionary: its values' model was found already
        model = _model_in(fields[str(part)].annotation)
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None
