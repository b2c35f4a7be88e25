"""The Landscape's tables, of three kinds whose lines never blur.

*Evidence* is write-once: triggers refuse DELETE, and UPDATE except the one step that closes an open record. Each record
carries the `execution_id` that made it final and a `record_hash` over its other columns (a seal: its `seal_hash`).
*Content* may be erased, and evidence refers to it by salted hash only. *Operational* tables change freely and prove
nothing.

Times are fixed-width UTC text with microseconds, hashes are 32 raw bytes, JSON columns are canonical JSON text: the
same values on SQLite and PostgreSQL, so that a record hashes alike on both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from elspeth_dagster.model.outcome import (
    BatchStatus,
    BatchTrigger,
    CallStatus,
    ExecutionStatus,
    Outcome,
    Relation,
    RunStatus,
    StateStatus,
)

REVISION: Final = "0001"
"""The migration that this code's tables are of."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _hash(name: str, *, nullable: bool = True) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


def _record_hash(*, closes: bool = False) -> Column[bytes]:
    return Column("record_hash", LargeBinary, nullable=closes)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _execution() -> Column[str]:
    return Column("execution_id", Text, ForeignKey("node_executions.execution_id"), nullable=False)


def _node_key(*, node: str = "node_id") -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["run_id", node], ["nodes.run_id", "nodes.node_id"])


# Evidence -----------------------------------------------------------------------------------------------------------

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("run_key", Text, nullable=False, unique=True),
    _text("pipeline"),
    _text("parent_run_id", nullable=True),
    _text("partition_key", nullable=True),
    _text("spec_json"),
    _hash("spec_hash", nullable=False),
    _text("versions_json"),
    _text("launched_by", nullable=True),
    _text("started_at"),
    _record_hash(),
    Index(None, "pipeline", "started_at"),
)

run_attempts = Table(
    "run_attempts",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("dagster_run_id", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    _text("status"),
    _text("host"),
    Column("pid", Integer, nullable=False),
    _text("operational_json"),
    _text("started_at"),
    _text("ended_at", nullable=True),
    _text("end_reason", nullable=True),
    _text("counts_json", nullable=True),
    _record_hash(closes=True),
    UniqueConstraint("run_id", "attempt"),
    _one_of("status", RunStatus),
)

nodes = Table(
    "nodes",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("node_id", Text, primary_key=True),
    _text("kind"),
    _text("determinism"),
    _text("config_json"),
    _hash("config_hash", nullable=False),
    Column("sequence", Integer, nullable=False),
    _text("input_columns_json", nullable=True),
    _text("output_columns_json", nullable=True),
    _record_hash(),
)

edges = Table(
    "edges",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("from_node_id", Text, primary_key=True),
    Column("port", Text, primary_key=True),
    Column("to_node_id", Text, primary_key=True),
    _record_hash(),
    _node_key(node="from_node_id"),
    _node_key(node="to_node_id"),
)

node_executions = Table(
    "node_executions",
    metadata,
    Column("execution_id", Text, primary_key=True),
    _text("run_id"),
    _text("node_id"),
    Column("attempt", Integer, nullable=False),
    _text("dagster_run_id"),
    _text("status"),
    Column("rows_in", BigInteger),
    Column("rows_out", BigInteger),
    Column("rows_failed", BigInteger),
    Column("rows_reused", BigInteger),
    _text("pool_stats_json", nullable=True),
    _text("usage_json", nullable=True),
    _text("metrics_json", nullable=True),
    _text("error_json", nullable=True),
    _text("started_at"),
    _text("completed_at", nullable=True),
    _record_hash(closes=True),
    UniqueConstraint("run_id", "node_id", "attempt"),
    _node_key(),
    ForeignKeyConstraint(
        ["run_id", "dagster_run_id"], ["run_attempts.run_id", "run_attempts.dagster_run_id"]
    ),
    _one_of("status", ExecutionStatus),
)

rows = Table(
    "rows",
    metadata,
    Column("row_id", Text, primary_key=True),
    _text("run_id"),
    _text("source_node_id"),
    Column("row_index", BigInteger, nullable=False),
    _text("out_port", nullable=True),
    _hash("data_hash", nullable=False),
    _execution(),
    _record_hash(),
    UniqueConstraint("run_id", "source_node_id", "row_index"),
    _node_key(node="source_node_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    _text("run_id"),
    Column("row_id", Text, ForeignKey("rows.row_id")),
    Column("order_key", LargeBinary, nullable=False),
    _text("branch", nullable=True),
    _text("created_by_node_id"),
    _text("salt_id"),
    _execution(),
    _record_hash(),
    Index(None, "run_id", "order_key"),
    Index(None, "row_id"),
    _node_key(node="created_by_node_id"),
)

token_parents = Table(
    "token_parents",
    metadata,
    Column("token_id", Text, ForeignKey("tokens.token_id"), primary_key=True),
    Column("parent_token_id", Text, ForeignKey("tokens.token_id"), primary_key=True),
    Column("ordinal", Integer, nullable=False),
    _text("relation"),
    _execution(),
    _record_hash(),
    UniqueConstraint("token_id", "ordinal"),
    Index(None, "parent_token_id"),
    _one_of("relation", Relation),
)

node_states = Table(
    "node_states",
    metadata,
    Column("state_id", Text, primary_key=True),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    _text("run_id"),
    _text("node_id"),
    _text("out_port", nullable=True),
    Column("order_key", LargeBinary, nullable=False),
    Column("attempt", Integer, nullable=False),
    _text("status"),
    _hash("input_hash"),
    _hash("output_hash"),
    _text("context_before_json", nullable=True),
    _text("context_after_json", nullable=True),
    Column("duration_ms", Float),
    _text("error_json", nullable=True),
    _text("started_at"),
    _text("completed_at", nullable=True),
    _execution(),
    _record_hash(closes=True),
    UniqueConstraint("token_id", "node_id", "attempt"),
    Index(None, "run_id", "node_id", "out_port", "order_key"),
    Index(
        "ix_node_states_open",
        "run_id",
        "node_id",
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
    Index(
        "ix_node_states_failed",
        "run_id",
        "node_id",
        "order_key",
        sqlite_where=text("status = 'failed'"),
        postgresql_where=text("status = 'failed'"),
    ),
    Index(
        "ix_node_states_again",
        "run_id",
        "token_id",
        sqlite_where=text("attempt <> 1"),
        postgresql_where=text("attempt <> 1"),
    ),
    _node_key(),
    _one_of("status", StateStatus),
    CheckConstraint("status <> 'open' OR out_port IS NULL", name="open_has_no_port"),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("state_id", Text, ForeignKey("node_states.state_id"), nullable=False),
    Column("call_index", Integer, nullable=False),
    _text("query"),
    Column("try_no", Integer, nullable=False),
    Column("reused_from", Text, ForeignKey("calls.call_id")),
    _text("call_type"),
    _text("provider"),
    _text("model_requested"),
    _text("model_answered", nullable=True),
    _text("status"),
    Column("http_status", Integer),
    _hash("request_hash", nullable=False),
    _hash("response_hash"),
    _hash("template_hash"),
    _hash("variables_hash"),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cost_usd", Float),
    Column("latency_ms", Float),
    _text("error_json", nullable=True),
    _text("sent_at"),
    _text("answered_at", nullable=True),
    _execution(),
    _record_hash(closes=True),
    UniqueConstraint("state_id", "call_index"),
    Index(
        "ix_calls_open",
        "state_id",
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
    Index("ix_calls_execution", "execution_id"),
    _one_of("status", CallStatus),
)

routing_events = Table(
    "routing_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("state_id", Text, ForeignKey("node_states.state_id"), nullable=False, unique=True),
    _text("port"),
    _text("expression", nullable=True),
    Column("truth", Boolean, nullable=False),
    _execution(),
    _record_hash(),
)

coalesce_events = Table(
    "coalesce_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    _text("run_id"),
    _text("node_id"),
    Column("parent_token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    Column("merged_token_id", Text, ForeignKey("tokens.token_id")),
    _text("policy"),
    _text("merge_strategy"),
    _text("metadata_json"),
    _execution(),
    _record_hash(),
    UniqueConstraint("parent_token_id", "node_id"),
    Index(None, "merged_token_id"),
    Index(None, "run_id", "node_id"),
    _node_key(),
)

batches = Table(
    "batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    _text("run_id"),
    _text("node_id"),
    Column("batch_index", BigInteger, nullable=False),
    _hash("group_hash"),
    _text("salt_id"),
    _text("trigger_type"),
    _text("status"),
    Column("member_count", BigInteger, nullable=False),
    Column("output_count", BigInteger),
    Column("age_seconds", Float),
    _text("error_json", nullable=True),
    _text("fired_at"),
    _text("completed_at", nullable=True),
    _execution(),
    _record_hash(closes=True),
    UniqueConstraint("run_id", "node_id", "batch_index"),
    _node_key(),
    _one_of("trigger_type", BatchTrigger),
    _one_of("status", BatchStatus),
)

batch_members = Table(
    "batch_members",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.batch_id"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    _execution(),
    _record_hash(),
    UniqueConstraint("token_id", "batch_id"),
)

batch_outputs = Table(
    "batch_outputs",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.batch_id"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    _execution(),
    _record_hash(),
    UniqueConstraint("token_id", "batch_id"),
)

token_outcomes = Table(
    "token_outcomes",
    metadata,
    Column("outcome_id", Text, primary_key=True),
    _text("run_id"),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    _text("outcome"),
    Column("is_terminal", Boolean, nullable=False),
    _text("node_id"),
    _text("sink", nullable=True),
    _text("error_code", nullable=True),
    _text("recorded_at"),
    _execution(),
    _record_hash(),
    Index(
        "uq_token_outcomes_terminal",
        "token_id",
        unique=True,
        sqlite_where=text("is_terminal"),
        postgresql_where=text("is_terminal"),
    ),
    Index(None, "run_id", "outcome", "sink"),
    _node_key(),
    _one_of("outcome", Outcome),
)

validation_errors = Table(
    "validation_errors",
    metadata,
    Column("error_id", Text, primary_key=True),
    _text("run_id"),
    Column("row_id", Text, ForeignKey("rows.row_id"), nullable=False),
    _text("field", nullable=True),
    _text("expected"),
    _text("actual_type"),
    _text("code"),
    _execution(),
    _record_hash(),
    Index(None, "row_id"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", Text, primary_key=True),
    _text("run_id"),
    _text("node_id"),
    _text("uri"),
    _hash("content_hash", nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    _text("created_at"),
    _execution(),
    _record_hash(),
    Index(None, "run_id", "node_id"),
    _node_key(),
)

seals = Table(
    "seals",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("execution_id", Text, ForeignKey("node_executions.execution_id"), nullable=False, unique=True),
    _hash("previous_seal_hash"),
    _hash("merkle_root", nullable=False),
    _text("counts_json"),
    _text("covers_json"),
    _text("sealed_at"),
    _hash("seal_hash", nullable=False),
)

# Content ------------------------------------------------------------------------------------------------------------

payloads = Table(
    "payloads",
    metadata,
    Column("salt_id", Text, primary_key=True),  # first, so that a row's bodies lie together, in row order
    Column("content_hash", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

row_salts = Table(
    "row_salts",
    metadata,
    Column("salt_id", Text, primary_key=True),
    _text("run_id"),
    Column("salt", LargeBinary, nullable=False),
    Index(None, "run_id"),
)

request_keys = Table(
    "request_keys",
    metadata,
    Column("request_key", LargeBinary, primary_key=True),
    Column("call_id", Text, ForeignKey("calls.call_id"), primary_key=True),
    _text("run_id"),
    Index(None, "run_id"),
)

# Operational --------------------------------------------------------------------------------------------------------

leases = Table(
    "leases",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("partition_key", Text, primary_key=True),  # '' where the pipeline has no partitions
    _text("run_id"),
    _text("dagster_run_id"),
    _text("heartbeat_at"),
)

fences = Table(
    "fences",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    _text("execution_id"),
    _text("dagster_run_id"),
    _text("heartbeat_at"),
)

progress = Table(
    "progress",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    _text("execution_id"),
    Column("rows_done", BigInteger, nullable=False),
    Column("rows_failed", BigInteger, nullable=False),
    Column("rows_total", BigInteger),
    _text("updated_at"),
)

pool_members = Table(
    "pool_members",
    metadata,
    Column("pool_key", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("share", Integer, nullable=False),
    _text("heartbeat_at"),
)

purges = Table(
    "purges",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("purged_at", Text, primary_key=True),
    _text("older_than"),
    Column("bodies", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

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
