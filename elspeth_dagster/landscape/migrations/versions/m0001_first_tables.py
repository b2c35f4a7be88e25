"""The first tables, and the triggers that keep the evidence write-once."""

import sqlalchemy as sa
from alembic import op

from elspeth_dagster.landscape.migrations.first_tables import (
    content,
    gathered,
    operational,
    rows,
    running,
    visits,
)

revision = "0001"
down_revision = None

WRITE_ONCE = (
    "runs", "run_attempts", "nodes", "edges", "node_executions", "rows", "tokens", "node_states", "calls",
    "routing_events", "token_outcomes", "validation_errors", "artifacts", "token_parents", "coalesce_events", "batches",
    "batch_members", "batch_outputs", "seals",
)  # fmt: skip

CLOSES_ONCE = {
    "run_attempts": ("running", {"status", "ended_at", "end_reason", "counts_json", "record_hash"}),
    "node_executions": (
        "open",
        {
            "status", "rows_in", "rows_out", "rows_failed", "rows_reused", "pool_stats_json", "usage_json",
            "metrics_json", "error_json", "completed_at", "record_hash",
        },
    ),
    "node_states": (
        "open",
        {
            "status", "out_port", "output_hash", "context_after_json", "duration_ms", "error_json", "completed_at",
            "execution_id", "record_hash",
        },
    ),
    "calls": (
        "open",
        {
            "status", "model_answered", "http_status", "response_hash", "prompt_tokens", "completion_tokens",
            "cost_usd", "latency_ms", "error_json", "answered_at", "execution_id", "record_hash",
        },
    ),
    "batches": (
        "executing", {"status", "output_count", "error_json", "completed_at", "execution_id", "record_hash"},
    ),
}  # fmt: skip


def upgrade() -> None:
    """Create everything."""
    for tables in (running, rows, visits, gathered, content, operational):
        tables.create()
    refuse = _refuse_on_sqlite if op.get_bind().dialect.name == "sqlite" else _refuse_on_postgresql
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_POSTGRESQL_FUNCTION)
    for table in WRITE_ONCE:
        refuse(table, _closing_condition(table))


def _closing_condition(table: str) -> str:
    """True for an UPDATE that closes an open record and touches nothing else."""
    if table not in CLOSES_ONCE:
        return "FALSE"
    open_status, closing = CLOSES_ONCE[table]
    same = "IS" if op.get_bind().dialect.name == "sqlite" else "IS NOT DISTINCT FROM"
    kept = [
        f"NEW.{column['name']} {same} OLD.{column['name']}"
        for column in sa.inspect(op.get_bind()).get_columns(table)
        if column["name"] not in closing
    ]
    return " AND ".join([f"OLD.status = '{open_status}'", f"NEW.status <> '{open_status}'", *kept])


def _refuse_on_sqlite(table: str, closing: str) -> None:
    for verb, condition in (("DELETE", ""), ("UPDATE", f"WHEN NOT ({closing})")):
        op.execute(
            f"CREATE TRIGGER {table}_refuses_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW {condition} "
            f"BEGIN SELECT RAISE(ABORT, 'evidence is write-once: {table} refuses this {verb}'); END"
        )


_POSTGRESQL_FUNCTION = """
CREATE FUNCTION elspeth_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'evidence is write-once: % refuses this %', TG_TABLE_NAME, TG_OP USING ERRCODE = '23514';
END $$
"""


def _refuse_on_postgresql(table: str, closing: str) -> None:
    for verb, level, condition in (
        ("DELETE", "ROW", ""),
        ("UPDATE", "ROW", f"WHEN (NOT ({closing}))"),
        ("TRUNCATE", "STATEMENT", ""),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_refuses_{verb.lower()} BEFORE {verb} ON {table} FOR EACH {level} {condition} "
            "EXECUTE FUNCTION elspeth_refuse()"
        )
