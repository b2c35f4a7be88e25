"""The evidence of a run: its attempts, its graph, the executions of its nodes, their files and seals."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from elspeth_dagster.landscape.tables.parts import (
    execution,
    hash_column,
    metadata,
    node_key,
    one_of,
    record_hash,
    text_column,
)
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("run_key", Text, nullable=False, unique=True),
    text_column("pipeline"),
    text_column("parent_run_id", nullable=True),
    text_column("partition_key", nullable=True),
    text_column("spec_json"),
    hash_column("spec_hash", nullable=False),
    text_column("versions_json"),
    text_column("launched_by", nullable=True),
    text_column("started_at"),
    record_hash(),
    Index(None, "pipeline", "started_at"),
)

run_attempts = Table(
    "run_attempts",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("dagster_run_id", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    text_column("status"),
    text_column("host"),
    Column("pid", Integer, nullable=False),
    text_column("operational_json"),
    text_column("started_at"),
    text_column("ended_at", nullable=True),
    text_column("end_reason", nullable=True),
    text_column("counts_json", nullable=True),
    record_hash(closes=True),
    UniqueConstraint("run_id", "attempt"),
    one_of("status", RunStatus),
)

nodes = Table(
    "nodes",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("node_id", Text, primary_key=True),
    text_column("kind"),
    text_column("determinism"),
    text_column("config_json"),
    hash_column("config_hash", nullable=False),
    Column("sequence", Integer, nullable=False),
    text_column("input_columns_json", nullable=True),
    text_column("output_columns_json", nullable=True),
    record_hash(),
)

edges = Table(
    "edges",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("from_node_id", Text, primary_key=True),
    Column("port", Text, primary_key=True),
    Column("to_node_id", Text, primary_key=True),
    record_hash(),
    node_key(node="from_node_id"),
    node_key(node="to_node_id"),
)

node_executions = Table(
    "node_executions",
    metadata,
    Column("execution_id", Text, primary_key=True),
    text_column("run_id"),
    text_column("node_id"),
    Column("attempt", Integer, nullable=False),
    text_column("dagster_run_id"),
    text_column("status"),
    Column("rows_in", BigInteger),
    Column("rows_out", BigInteger),
    Column("rows_failed", BigInteger),
    Column("rows_reused", BigInteger),
    text_column("pool_stats_json", nullable=True),
    text_column("usage_json", nullable=True),
    text_column("metrics_json", nullable=True),
    text_column("error_json", nullable=True),
    text_column("started_at"),
    text_column("completed_at", nullable=True),
    record_hash(closes=True),
    UniqueConstraint("run_id", "node_id", "attempt"),
    node_key(),
    ForeignKeyConstraint(
        ["run_id", "dagster_run_id"], ["run_attempts.run_id", "run_attempts.dagster_run_id"]
    ),
    one_of("status", ExecutionStatus),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", Text, primary_key=True),
    text_column("run_id"),
    text_column("node_id"),
    text_column("uri"),
    hash_column("content_hash", nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    text_column("created_at"),
    execution(),
    record_hash(),
    Index(None, "run_id", "node_id"),
    node_key(),
)

seals = Table(
    "seals",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("execution_id", Text, ForeignKey("node_executions.execution_id"), nullable=False, unique=True),
    hash_column("previous_seal_hash"),
    hash_column("merkle_root", nullable=False),
    text_column("counts_json"),
    text_column("covers_json"),
    text_column("sealed_at"),
    hash_column("seal_hash", nullable=False),
)
