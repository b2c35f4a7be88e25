"""What a failed try means for its row: try again after a wait, or end in an error. Decisions only, no waiting."""

from __future__ import annotations

from dataclasses import dataclass

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.pooling.failures import FailureKind, status_of, type_of

BACKOFF_FIRST_S = 0.25
"""A reset connection or a failed worker is usually replaced within this time."""

BACKOFF_MAX_S = 8.0
"""Longer waits gain nothing: the number of tries is bounded anyway."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One try that gave no answer; ``after_s`` is the wait that the server asked for."""

    error: BaseException
    kind: FailureKind
    after_s: float | None = None


def backoff_s(tries: int, *, factor: float) -> float:
    """The wait after the ``tries``-th failure in a row: doubling from the first, bounded, times ``factor``."""
    doublings = min(tries - 1, 16)  # keeps the power finite; the bound is reached long before
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**doublings) * factor


def given_up(failure: Failure, *, tries: int, elapsed_s: float, budget_s: float) -> Rejected:
    """The error result of a row that is not tried again."""
    facts: dict[str, JSON] = {
        "status_code": status_of(failure.error),
        "error_type": type_of(failure.error),
    }
    if failure.kind is FailureKind.TRANSIENT:
        facts |= {"attempts": tries}
        reason, message = "transient_retries_exhausted", f"No answer after {tries} failed tries."
    else:
        facts |= {"elapsed_seconds": round(elapsed_s, 6), "max_seconds": budget_s}
        reason, message = "retry_timeout", f"The provider had no capacity for {elapsed_s:.1f} s."
    return Rejected(reason, message, facts=facts, detail={"error": str(failure.error)})
