"""The evidence of tokens that were taken together: a join's decisions, and batches."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Table, Text, UniqueConstraint

from elspeth_dagster.landscape.tables.parts import (
    execution,
    hash_column,
    metadata,
    node_key,
    one_of,
    record_hash,
    text_column,
)
from elspeth_dagster.model.outcome import BatchStatus, BatchTrigger

coalesce_events = Table(
    "coalesce_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    text_column("run_id"),
    text_column("node_id"),
    Column("parent_token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    Column("merged_token_id", Text, ForeignKey("tokens.token_id")),
    text_column("policy"),
    text_column("merge_strategy"),
    text_column("metadata_json"),
    execution(),
    record_hash(),
    UniqueConstraint("parent_token_id", "node_id"),
    Index(None, "merged_token_id"),
    Index(None, "run_id", "node_id"),
    node_key(),
)

batches = Table(
    "batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    text_column("run_id"),
    text_column("node_id"),
    Column("batch_index", BigInteger, nullable=False),
    hash_column("group_hash"),
    text_column("salt_id"),
    text_column("trigger_type"),
    text_column("status"),
    Column("member_count", BigInteger, nullable=False),
    Column("output_count", BigInteger),
    Column("age_seconds", Float),
    text_column("error_json", nullable=True),
    text_column("fired_at"),
    text_column("completed_at", nullable=True),
    execution(),
    record_hash(closes=True),
    UniqueConstraint("run_id", "node_id", "batch_index"),
    node_key(),
    one_of("trigger_type", BatchTrigger),
    one_of("status", BatchStatus),
)

batch_members = Table(
    "batch_members",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.batch_id"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    execution(),
    record_hash(),
    UniqueConstraint("token_id", "batch_id"),
)

batch_outputs = Table(
    "batch_outputs",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.batch_id"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    execution(),
    record_hash(),
    UniqueConstraint("token_id", "batch_id"),
)
