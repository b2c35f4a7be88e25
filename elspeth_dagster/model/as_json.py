"""Our results as plain JSON: for `--json`, and for agents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

from elspeth_dagster.model.row import JSON


def as_json(value: object) -> JSON:
    """Plain JSON of dataclasses, mappings, sequences and what JSON has itself; enumerations are their words already."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return cast("JSON", value)
