"""Reading a JSON schema: references resolved, combinations folded, the types it allows.

Values that satisfy it are made in ``answers``.
"""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.model.row import JSON

Schema = Mapping[str, JSON]

REFERENCES_MAX = 32
"""A chain of references longer than this goes in a circle."""

_UNKNOWN_HERE = frozenset(
    {"not", "if", "then", "else", "pattern", "patternProperties", "propertyNames", "contains"}
)

ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class SchemaError(ValueError):
    """No answer can be made for this schema, or this module does not know how."""


def resolved(schema: JSON, root: Schema) -> Schema:
    """``schema`` without ``$ref`` and ``allOf`` at its top.

    Raises:
        SchemaError: a reference leads nowhere or in a circle, or a keyword is not supported here.
    """
    if schema is True:
        return {}
    for _ in range(REFERENCES_MAX):
        if not isinstance(schema, dict):
            raise SchemaError(f"{schema!r} is no schema that an answer could satisfy")
        if "$ref" in schema:
            schema = folded(_target(schema["$ref"], root), schema, without="$ref")
        elif "allOf" in schema:
            schema = _all_of(schema, root)
        else:
            break
    else:
        raise SchemaError("its references go in a circle")
    if not _UNKNOWN_HERE.isdisjoint(schema):
        raise SchemaError(f"the fake model does not support {', '.join(sorted(_UNKNOWN_HERE & set(schema)))}")
    return schema


def folded(first: JSON, second: Schema, *, without: str) -> JSON:
    """Both schemas in one: properties and required fields add up; of other keywords the second's count."""
    if first is True:
        first = {}
    if not isinstance(first, dict):
        return first
    both: dict[str, JSON] = {**first, **{key: value for key, value in second.items() if key != without}}
    properties = first.get("properties"), second.get("properties")
    if isinstance(properties[0], dict) and isinstance(properties[1], dict):
        both["properties"] = {**properties[0], **properties[1]}
    required = first.get("required"), second.get("required")
    if isinstance(required[0], list) and isinstance(required[1], list):
        both["required"] = [*required[0], *required[1]]
    return both


def types_of(schema: JSON, root: Schema) -> frozenset[str]:
    """The JSON types that a value of this schema may have; too many rather than too few."""
    here = resolved(schema, root)
    if "const" in here:
        return frozenset({type_of(here["const"])})
    values = here.get("enum")
    if isinstance(values, list):
        return frozenset(type_of(value) for value in values)
    named = here.get("type")
    if isinstance(named, str):
        return frozenset({named})
    if isinstance(named, list):
        return frozenset(str(one) for one in named)
    options = options_of(here)
    if options is not None:
        return frozenset().union(*(types_of(option, root) for option in options))
    return ALL_TYPES


def options_of(schema: Schema) -> list[JSON] | None:
    """The alternatives of ``anyOf`` or ``oneOf``, or None."""
    options = schema.get("anyOf", schema.get("oneOf"))
    return options if isinstance(options, list) else None


def type_of(value: JSON) -> str:
    """The JSON type of a value; whole numbers are integers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _target(reference: JSON, root: Schema) -> JSON:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SchemaError(f"the reference {reference!r} does not point into the schema")
    found: JSON = dict(root)
    for raw in reference[1:].split("/")[1:]:
        step = raw.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or step not in found:
            raise SchemaError(f"the reference {reference!r} leads nowhere")
        found = found[step]
    return found


def _all_of(schema: Schema, root: Schema) -> JSON:
    parts = schema["allOf"]
    if not isinstance(parts, list):
        raise SchemaError("'allOf' is not a list")
    whole: JSON = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        whole = folded(whole, resolved(part, root), without="")
    return whole
