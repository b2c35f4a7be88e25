"""One JSON document on standard output, the same form every time."""

from __future__ import annotations

import json
import sys

from elspeth_dagster.model.as_json import as_json


def print_json(document: object) -> None:
    """Print ``document``: dataclasses by their fields, enumerations by their words."""
    sys.stdout.write(json.dumps(as_json(document), ensure_ascii=False, indent=2) + "\n")
