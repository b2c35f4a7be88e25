"""Operational tables: who works on what right now, and what was purged. They change freely and prove nothing."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from elspeth_dagster.landscape.tables.parts import metadata, text_column

leases = Table(
    "leases",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("partition_key", Text, primary_key=True),  # '' where the pipeline has no partitions
    text_column("run_id"),
    text_column("dagster_run_id"),
    text_column("heartbeat_at"),
)

fences = Table(
    "fences",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    text_column("execution_id"),
    text_column("dagster_run_id"),
    text_column("heartbeat_at"),
)

progress = Table(
    "progress",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    text_column("execution_id"),
    Column("rows_done", BigInteger, nullable=False),
    Column("rows_failed", BigInteger, nullable=False),
    Column("rows_total", BigInteger),
    text_column("updated_at"),
)

pool_members = Table(
    "pool_members",
    metadata,
    Column("pool_key", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("share", Integer, nullable=False),
    text_column("heartbeat_at"),
)

purges = Table(
    "purges",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("purged_at", Text, primary_key=True),
    text_column("older_than"),
    Column("bodies", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)
