"""What a launch leaves behind, in values that need no Dagster to be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ended(StrEnum):
    """How a Dagster run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class StepFailure:
    """Why a node's step failed. ``text`` is the error in its own words; ``is_known``: it says what, where and next."""

    node_id: str
    code: str | None
    text: str
    is_known: bool
    trace: str


@dataclass(frozen=True, slots=True)
class Launched:
    """A Dagster run that has ended; ``failures`` in the order in which they happened."""

    dagster_run_id: str
    ended: Ended
    failures: tuple[StepFailure, ...]
