"""The JSON schema of a declaration's parts: for editors, for Dagster's documentation, for `dg check yaml`.

Made of the same models that read a declaration. Which keys a node may have follows from its kind, and is said so that a
validator names the key that is wrong, not every kind that it might have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.nodes.base import NodeConfig
from elspeth_dagster.nodes.kinds import SINK_KINDS, SOURCE_KINDS, STEP_KINDS

Schema = dict[str, Any]


def model_schema(model: type[BaseModel]) -> Schema:
    """A model's schema in one piece: nothing in it points elsewhere, so that it may stand anywhere."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    whole = _inlined(schema, definitions)
    assert isinstance(whole, dict)  # noqa: S101 - a model is an object
    return whole


def models_schema() -> Schema:
    """Of `models:`."""
    return {"additionalProperties": _settings_schema()}


def source_schema() -> Schema:
    """Of `source:`."""
    return _node_schema(SOURCE_KINDS)


def steps_schema() -> Schema:
    """Of `steps:`."""
    return {"additionalProperties": _node_schema(STEP_KINDS)}


def sinks_schema() -> Schema:
    """Of `sinks:`."""
    return {"additionalProperties": _node_schema(SINK_KINDS)}


def _settings_schema() -> Schema:
    return model_schema(ModelSettings)


def _node_schema(kinds: Mapping[str, type[NodeConfig]]) -> Schema:
    """A node of one of these kinds: its kind first, then the keys that go with it."""
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(kinds), "description": "What the node does."}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": model_schema(config),
            }
            for name, config in kinds.items()
        ],
    }


def _inlined(part: object, definitions: Mapping[str, object]) -> object:
    if isinstance(part, list):
        return [_inlined(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if isinstance(reference, str):
        target = _inlined(definitions[reference.rpartition("/")[2]], definitions)
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return {**target, **beside} if isinstance(target, dict) else target
    return {key: _inlined(value, definitions) for key, value in part.items()}
