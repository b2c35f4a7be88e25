"""The Landscape's tables, of three kinds whose lines never blur.

*Evidence* is write-once: triggers refuse DELETE, and UPDATE except the one step that closes an open record. Each record
carries the `execution_id` that made it final and a `record_hash` over its other columns (a seal: its `seal_hash`).
*Content* may be erased, and evidence refers to it by salted hash only. *Operational* tables change freely and prove
nothing. `tables` declares them by what they tell of; here they are by kind.

Times are fixed-width UTC text with microseconds, hashes are 32 raw bytes, JSON columns are canonical JSON text: the
same values on SQLite and PostgreSQL, so that a record hashes alike on both.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table

from elspeth_dagster.landscape.tables.content import payloads, request_keys, row_salts
from elspeth_dagster.landscape.tables.gathered import batch_members, batch_outputs, batches, coalesce_events
from elspeth_dagster.landscape.tables.operational import fences, leases, pool_members, progress, purges
from elspeth_dagster.landscape.tables.parts import metadata
from elspeth_dagster.landscape.tables.rows import (
    rows,
    token_outcomes,
    token_parents,
    tokens,
    validation_errors,
)
from elspeth_dagster.landscape.tables.running import (
    artifacts,
    edges,
    node_executions,
    nodes,
    run_attempts,
    runs,
    seals,
)
from elspeth_dagster.landscape.tables.visits import calls, node_states, routing_events

__all__ = [
    "CLOSING_COLUMNS", "CONTENT", "EVIDENCE", "OPEN_STATUS", "OPERATIONAL", "REVISION", "artifacts",
    "batch_members", "batch_outputs", "batches", "calls", "coalesce_events", "edges", "fences", "leases",
    "metadata", "node_executions", "node_states", "nodes", "payloads", "pool_members", "progress", "purges",
    "request_keys", "routing_events", "row_salts", "rows", "run_attempts", "runs", "seals", "token_outcomes",
    "token_parents", "tokens", "validation_errors",
]  # fmt: skip

REVISION: Final = "0001"
"""The migration that this code's tables are of."""

EVIDENCE: Final[tuple[Table, ...]] = (
    runs,
    run_attempts,
    nodes,
    edges,
    node_executions,
    rows,
    tokens,
    token_parents,
    node_states,
    calls,
    routing_events,
    coalesce_events,
    batches,
    batch_members,
    batch_outputs,
    token_outcomes,
    validation_errors,
    artifacts,
    seals,
)
CONTENT: Final[tuple[Table, ...]] = (payloads, row_salts, request_keys)
OPERATIONAL: Final[tuple[Table, ...]] = (leases, fences, progress, pool_members, purges)

CLOSING_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "run_attempts": ("status", "ended_at", "end_reason", "counts_json", "record_hash"),
    "node_executions": (
        "status", "rows_in", "rows_out", "rows_failed", "rows_reused", "pool_stats_json", "usage_json",
        "metrics_json", "error_json", "completed_at", "record_hash",
    ),
    "node_states": (
        "status", "out_port", "output_hash", "context_after_json", "duration_ms", "error_json", "completed_at",
        "execution_id", "record_hash",
    ),
    "calls": (
        "status", "model_answered", "http_status", "response_hash", "prompt_tokens", "completion_tokens",
        "cost_usd", "latency_ms", "error_json", "answered_at", "execution_id", "record_hash",
    ),
    "batches": ("status", "output_count", "error_json", "completed_at", "execution_id", "record_hash"),
}  # fmt: skip
"""What closing an open record may set; a trigger refuses every other change."""

OPEN_STATUS: Final[dict[str, str]] = {
    "run_attempts": "running",
    "node_executions": "open",
    "node_states": "open",
    "calls": "open",
    "batches": "executing",
}
