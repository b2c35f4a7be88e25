"""What became of one row at one node: it succeeded with a value, or it ended in an error. Values, not exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from elspeth_dagster.model.row import JSON

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Succeeded(Generic[T]):
    """The row's work is done; ``value`` is what it made."""

    value: T


@dataclass(frozen=True, slots=True)
class Rejected:
    """The row ended in an error: ``reason`` is a stable code.

    ``message`` and ``detail`` may hold foreign text (a provider's words, a row's value): they are content, never
    evidence. ``facts`` hold codes, names and the engine's own numbers only, and may be evidence.
    """

    reason: str
    message: str = ""
    facts: Mapping[str, JSON] = field(default_factory=dict)
    detail: Mapping[str, JSON] = field(default_factory=dict)


RowResult = Succeeded[T] | Rejected
