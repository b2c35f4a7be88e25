"""Content: bodies, the salts that evidence is hashed with, and the fingerprints of requests. It may be erased."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text

from elspeth_dagster.landscape.tables.parts import metadata, text_column

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
    text_column("run_id"),
    Column("salt", LargeBinary, nullable=False),
    Index(None, "run_id"),
)

request_keys = Table(
    "request_keys",
    metadata,
    Column("request_key", LargeBinary, primary_key=True),
    Column("call_id", Text, ForeignKey("calls.call_id"), primary_key=True),
    text_column("run_id"),
    Index(None, "run_id"),
)
