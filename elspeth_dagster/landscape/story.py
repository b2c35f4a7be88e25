"""The whole story of a row, as values: what `explain` finds, and every way of showing it reads.

A body that was purged is None, with ``is_purged`` beside it; the evidence about it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth_dagster.landscape.batch_reads import BatchRecord, BatchToken
from elspeth_dagster.landscape.joins import JoinRecord
from elspeth_dagster.landscape.relatives import Relatives
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.model.outcome import CallStatus, Outcome, StateStatus
from elspeth_dagster.model.row import JSON, Row


@dataclass(frozen=True, slots=True)
class Body:
    """A stored body and its salted hash, in hexadecimal."""

    content_hash: str
    value: JSON
    is_purged: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a source row did not fit its declared columns."""

    field: str | None
    expected: str
    actual: str
    code: str


@dataclass(frozen=True, slots=True)
class SourceRow:
    """The row as the source gave it; ``path`` is the source's, as declared."""

    row_id: str
    row_index: int
    source_node_id: str
    kind: str
    path: str | None
    port: str | None
    data: Body
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed: its code, the engine's own facts, and what was kept of the message."""

    code: str
    facts: Mapping[str, JSON]
    message: str | None
    detail: Mapping[str, JSON]
    is_purged: bool


@dataclass(frozen=True, slots=True)
class CallStory:
    """One request and what came of it. ``answer`` is the model's text.

    ``reused_from`` is the call that was paid for, ``reused_from_run`` the key of its run where that is an earlier one.
    """

    call_id: str
    call_index: int
    query: str
    try_no: int
    status: CallStatus
    provider: str
    model_requested: str
    model_answered: str | None
    http_status: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    sent_at: str
    answered_at: str | None
    reused_from: str | None
    reused_from_run: str | None
    messages: tuple[Mapping[str, JSON], ...]
    answer: str | None
    request: Body
    response: Body | None
    template_hash: str | None
    variables_hash: str | None
    error: Failure | None


@dataclass(frozen=True, slots=True)
class Tested:
    """An expression that a gate has, and the fields that it read with their values (None: not known any more)."""

    port: str
    expression: str
    values: Row | None


@dataclass(frozen=True, slots=True)
class Routing:
    """The port that a gate chose: ``expression`` was true for the row; None: no route was.

    ``tested`` are the routes that were tried, in order: the last one is the one that was true, if any was.
    """

    port: str
    expression: str | None
    tested: tuple[Tested, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a node did to the row."""

    added: Row
    removed: Row
    changed: Mapping[str, tuple[JSON, JSON]]

    @property
    def is_none(self) -> bool:
        """Whether the row went on as it came."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit of a token to a node, interrupted ones too. ``took`` are the nodes behind the port that it left by."""

    state_id: str
    node_id: str
    kind: str
    attempt: int
    status: StateStatus
    port: str | None
    took: tuple[str, ...]
    input: Body | None
    output: Body | None
    change: Change | None
    calls: tuple[CallStory, ...]
    routing: Routing | None
    context: Mapping[str, JSON]
    error: Failure | None
    duration_ms: float | None
    started_at: str
    completed_at: str | None
    execution_id: str
    record_hash: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """Where in a sink's artifact the token stands: ``position`` counts its records from 1, in order."""

    artifact_id: str
    uri: str
    content_hash: str
    position: int
    created_at: str


@dataclass(frozen=True, slots=True)
class OutcomeStory:
    """How a token ended."""

    outcome: Outcome
    node_id: str
    sink: str | None
    error_code: str | None
    recorded_at: str
    written: Written | None


@dataclass(frozen=True, slots=True)
class BatchStory:
    """A batch and a token's place in it, from 0; the first of its members and of the tokens that it made."""

    batch: BatchRecord
    ordinal: int
    members: tuple[BatchToken, ...]
    outputs: tuple[BatchToken, ...]


@dataclass(frozen=True, slots=True)
class TokenStory:
    """One token's way: its visits in the order in which they happened, and its outcome (None: it waits).

    ``made_by_join`` and ``made_by_batch`` tell what made it, ``taken_by_batch`` what it went into.
    """

    token_id: str
    branch: str | None
    created_by_node_id: str
    visits: tuple[Visit, ...]
    outcome: OutcomeStory | None
    parents: Relatives
    children: Relatives
    made_by_join: JoinRecord | None
    made_by_batch: BatchStory | None
    taken_by_batch: BatchStory | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known about a row, or about one token. ``row`` is None for what was made of many rows.

    ``tokens_total`` counts the tokens of the row, ``tokens`` are the first of them; ``purged_at`` is when bodies of the
    run were erased.
    """

    run: RunRecord
    row: SourceRow | None
    tokens: tuple[TokenStory, ...]
    tokens_total: int
    purged_at: str | None
