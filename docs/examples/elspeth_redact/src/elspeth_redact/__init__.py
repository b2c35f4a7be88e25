# ruff: noqa: ARG002 - the signatures are what elspeth_dagster calls
"""A kind of step of our own: `redact` hides e-mail addresses in the fields that it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from elspeth_dagster import node_kind
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home, Mistake, StepConfig

_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


@node_kind
class RedactConfig(StepConfig):
    """What stands in the YAML; descriptions go to `dg`'s documentation and to editors."""

    kind: Literal["redact"]
    fields: list[str] = Field(min_length=1, description="The fields that are looked through.")
    replacement: str = Field(default="[hidden]", description="What takes an address's place.")

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Told when the pipeline is loaded, with the line: a field that does not reach this step."""
        for index, name in enumerate(self.fields):
            if columns is not None and name not in columns:
                yield Mistake(("fields", index), f"Field {name!r} does not reach this step.")

    def compile(self, home: Home) -> Redactor:
        """Called once per run, before the first row."""
        return Redactor(tuple(self.fields), self.replacement)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Decides about each row. It must be pure: the same row, the same decision."""

    fields: tuple[str, ...]
    replacement: str

    def decide(self, row: Row) -> Decision:
        """The row with its addresses hidden; a field that is no text is the row's error."""
        changed: Row = {}
        for name in self.fields:
            value = row.get(name)
            if not isinstance(value, str):
                return Rejected("not_text", f"Field {name!r} is no text.", facts={"field": name})
            changed[name] = _ADDRESS.sub(self.replacement, value)
        return Emitted({**row, **changed})
