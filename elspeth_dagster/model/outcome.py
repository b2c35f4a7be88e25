"""How things end, as the words that the Landscape stores."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a token's journey ended. Only ``BUFFERED`` is not terminal."""

    COMPLETED = "completed"
    ROUTED = "routed"
    FORKED = "forked"
    COALESCED = "coalesced"
    CONSUMED_IN_BATCH = "consumed_in_batch"
    EXPANDED = "expanded"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DISCARDED = "discarded"
    HANDED_ON = "handed_on"
    BUFFERED = "buffered"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows it."""
        return self is not Outcome.BUFFERED


class StateStatus(StrEnum):
    """One visit of a token to a node."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class CallStatus(StrEnum):
    """One request: open while its intent alone is known; unknown if its process died before an answer was kept."""

    OPEN = "open"
    ANSWERED = "answered"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ExecutionStatus(StrEnum):
    """One execution of a node."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"


class Relation(StrEnum):
    """What makes one token the parent of another; ``ADOPTED``: the same token in an earlier run."""

    FORK = "fork"
    JOIN = "join"
    EXPAND = "expand"
    BATCH = "batch"
    ADOPTED = "adopted"


class BatchStatus(StrEnum):
    """One batch of an aggregate. A draft is never stored: it fills again from the node's ordered input."""

    DRAFT = "draft"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"


class BatchTrigger(StrEnum):
    """What made a batch fire: the earliest of its triggers, or the end of the input."""

    COUNT = "count"
    TIMEOUT = "timeout"
    CONDITION = "condition"
    END_OF_SOURCE = "end_of_source"


class RunStatus(StrEnum):
    """A run's status is that of its latest attempt."""

    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


OUT_PORT = "out"
"""The one port of a node that has no named ones."""

BUDGET_SPENT = "budget_spent"
"""Why a node stopped, where its run is incomplete and did not fail."""

ERROR_PORT = "error"
"""Where a failed row leaves a step that has `on_error`."""

INVALID_PORT = "invalid"
"""Where a quarantined row leaves a source whose `on_invalid` is a sink."""
