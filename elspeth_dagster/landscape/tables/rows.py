"""The evidence of rows: where each came from, its tokens, and how every token ended."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
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
from elspeth_dagster.model.outcome import Outcome, Relation

rows = Table(
    "rows",
    metadata,
    Column("row_id", Text, primary_key=True),
    text_column("run_id"),
    text_column("source_node_id"),
    Column("row_index", BigInteger, nullable=False),
    text_column("out_port", nullable=True),
    hash_column("data_hash", nullable=False),
    execution(),
    record_hash(),
    UniqueConstraint("run_id", "source_node_id", "row_index"),
    node_key(node="source_node_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    text_column("run_id"),
    Column("row_id", Text, ForeignKey("rows.row_id")),
    Column("order_key", LargeBinary, nullable=False),
    text_column("branch", nullable=True),
    text_column("created_by_node_id"),
    text_column("salt_id"),
    execution(),
    record_hash(),
    Index(None, "run_id", "order_key"),
    Index(None, "row_id"),
    node_key(node="created_by_node_id"),
)

token_parents = Table(
    "token_parents",
    metadata,
    Column("token_id", Text, ForeignKey("tokens.token_id"), primary_key=True),
    Column("parent_token_id", Text, ForeignKey("tokens.token_id"), primary_key=True),
    Column("ordinal", Integer, nullable=False),
    text_column("relation"),
    execution(),
    record_hash(),
    UniqueConstraint("token_id", "ordinal"),
    Index(None, "parent_token_id"),
    one_of("relation", Relation),
)

token_outcomes = Table(
    "token_outcomes",
    metadata,
    Column("outcome_id", Text, primary_key=True),
    text_column("run_id"),
    Column("token_id", Text, ForeignKey("tokens.token_id"), nullable=False),
    text_column("outcome"),
    Column("is_terminal", Boolean, nullable=False),
    text_column("node_id"),
    text_column("sink", nullable=True),
    text_column("error_code", nullable=True),
    text_column("recorded_at"),
    execution(),
    record_hash(),
    Index(
        "uq_token_outcomes_terminal",
        "token_id",
        unique=True,
        sqlite_where=text("is_terminal"),
        postgresql_where=text("is_terminal"),
    ),
    Index(None, "run_id", "outcome", "sink"),
    node_key(),
    one_of("outcome", Outcome),
)

validation_errors = Table(
    "validation_errors",
    metadata,
    Column("error_id", Text, primary_key=True),
    text_column("run_id"),
    Column("row_id", Text, ForeignKey("rows.row_id"), nullable=False),
    text_column("field", nullable=True),
    text_column("expected"),
    text_column("actual_type"),
    text_column("code"),
    execution(),
    record_hash(),
    Index(None, "row_id"),
)
