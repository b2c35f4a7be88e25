"""One JSON document on standard output, the same form every time."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping


def print_json(document: object) -> None:
    """Print ``document``: dataclasses by their fields, enumerations by their words."""
    sys.stdout.write(json.dumps(as_json(document), ensure_ascii=False, indent=2) + "\n")


def as_json(value: object) -> object:
    """Plain JSON of dataclasses, mappings, sequences and what JSON has itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
