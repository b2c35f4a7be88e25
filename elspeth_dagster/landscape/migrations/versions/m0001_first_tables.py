"""The first tables, and the triggers that keep the evidence write-once."""

import sqlalchemy as sa
from alembic import op

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
    _create_tables()
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


def _create_tables() -> None:
    op.create_table(
        "fences",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "node_id", name=op.f("pk_fences")),
    )
    op.create_table(
        "leases",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "partition_key", name=op.f("pk_leases")),
    )
    op.create_table(
        "payloads",
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("salt_id", "content_hash", name=op.f("pk_payloads")),
    )
    op.create_table(
        "pool_members",
        sa.Column("pool_key", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pool_key", "member_id", name=op.f("pk_pool_members")),
    )
    op.create_table(
        "progress",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("rows_failed", sa.BigInteger(), nullable=False),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "node_id", name=op.f("pk_progress")),
    )
    op.create_table(
        "purges",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("purged_at", sa.Text(), nullable=False),
        sa.Column("older_than", sa.Text(), nullable=False),
        sa.Column("bodies", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "purged_at", name=op.f("pk_purges")),
    )
    op.create_table(
        "row_salts",
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("salt_id", name=op.f("pk_row_salts")),
    )
    op.create_index(op.f("ix_row_salts_run_id"), "row_salts", ["run_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("run_key", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("parent_run_id", sa.Text(), nullable=True),
        sa.Column("partition_key", sa.Text(), nullable=True),
        sa.Column("spec_json", sa.Text(), nullable=False),
        sa.Column("spec_hash", sa.LargeBinary(), nullable=False),
        sa.Column("versions_json", sa.Text(), nullable=False),
        sa.Column("launched_by", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("run_key", name=op.f("uq_runs_run_key")),
    )
    op.create_index(op.f("ix_runs_pipeline_started_at"), "runs", ["pipeline", "started_at"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("determinism", sa.Text(), nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("input_columns_json", sa.Text(), nullable=True),
        sa.Column("output_columns_json", sa.Text(), nullable=True),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_nodes_run_id")),
        sa.PrimaryKeyConstraint("run_id", "node_id", name=op.f("pk_nodes")),
    )
    op.create_table(
        "run_attempts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("operational_json", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("counts_json", sa.Text(), nullable=True),
        sa.Column("record_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'completed_with_failures', 'incomplete', 'failed', 'interrupted')",
            name=op.f("ck_run_attempts_status"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_attempts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "dagster_run_id", name=op.f("pk_run_attempts")),
        sa.UniqueConstraint("run_id", "attempt", name=op.f("uq_run_attempts_run_id_attempt")),
    )
    op.create_table(
        "edges",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("from_node_id", sa.Text(), nullable=False),
        sa.Column("port", sa.Text(), nullable=False),
        sa.Column("to_node_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "from_node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_edges_run_id_from_node_id"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "to_node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_edges_run_id_to_node_id"),
        ),
        sa.PrimaryKeyConstraint("run_id", "from_node_id", "port", "to_node_id", name=op.f("pk_edges")),
    )
    op.create_table(
        "node_executions",
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rows_in", sa.BigInteger(), nullable=True),
        sa.Column("rows_out", sa.BigInteger(), nullable=True),
        sa.Column("rows_failed", sa.BigInteger(), nullable=True),
        sa.Column("rows_reused", sa.BigInteger(), nullable=True),
        sa.Column("pool_stats_json", sa.Text(), nullable=True),
        sa.Column("usage_json", sa.Text(), nullable=True),
        sa.Column("metrics_json", sa.Text(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("completed_at", sa.Text(), nullable=True),
        sa.Column("record_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('open', 'completed', 'failed', 'interrupted', 'superseded')",
            name=op.f("ck_node_executions_status"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "dagster_run_id"],
            ["run_attempts.run_id", "run_attempts.dagster_run_id"],
            name=op.f("fk_node_executions_run_id_dagster_run_id"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_node_executions_run_id_node_id"),
        ),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_node_executions")),
        sa.UniqueConstraint(
            "run_id", "node_id", "attempt", name=op.f("uq_node_executions_run_id_node_id_attempt")
        ),
    )
    op.create_table(
        "artifacts",
        sa.Column("artifact_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_artifacts_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"], ["nodes.run_id", "nodes.node_id"], name=op.f("fk_artifacts_run_id_node_id")
        ),
        sa.PrimaryKeyConstraint("artifact_id", name=op.f("pk_artifacts")),
    )
    op.create_index(op.f("ix_artifacts_run_id_node_id"), "artifacts", ["run_id", "node_id"], unique=False)
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("batch_index", sa.BigInteger(), nullable=False),
        sa.Column("group_hash", sa.LargeBinary(), nullable=True),
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("trigger_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("member_count", sa.BigInteger(), nullable=False),
        sa.Column("output_count", sa.BigInteger(), nullable=True),
        sa.Column("age_seconds", sa.Float(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=True),
        sa.Column("fired_at", sa.Text(), nullable=False),
        sa.Column("completed_at", sa.Text(), nullable=True),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('draft', 'executing', 'completed', 'failed')", name=op.f("ck_batches_status")
        ),
        sa.CheckConstraint(
            "trigger_type IN ('count', 'timeout', 'condition', 'end_of_source')",
            name=op.f("ck_batches_trigger_type"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_batches_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"], ["nodes.run_id", "nodes.node_id"], name=op.f("fk_batches_run_id_node_id")
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
        sa.UniqueConstraint(
            "run_id", "node_id", "batch_index", name=op.f("uq_batches_run_id_node_id_batch_index")
        ),
    )
    op.create_table(
        "rows",
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("source_node_id", sa.Text(), nullable=False),
        sa.Column("row_index", sa.BigInteger(), nullable=False),
        sa.Column("out_port", sa.Text(), nullable=True),
        sa.Column("data_hash", sa.LargeBinary(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_rows_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "source_node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_rows_run_id_source_node_id"),
        ),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_rows")),
        sa.UniqueConstraint(
            "run_id", "source_node_id", "row_index", name=op.f("uq_rows_run_id_source_node_id_row_index")
        ),
    )
    op.create_table(
        "seals",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("previous_seal_hash", sa.LargeBinary(), nullable=True),
        sa.Column("merkle_root", sa.LargeBinary(), nullable=False),
        sa.Column("counts_json", sa.Text(), nullable=False),
        sa.Column("covers_json", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.Text(), nullable=False),
        sa.Column("seal_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_seals_execution_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_seals_run_id")),
        sa.PrimaryKeyConstraint("run_id", "sequence", name=op.f("pk_seals")),
        sa.UniqueConstraint("execution_id", name=op.f("uq_seals_execution_id")),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=True),
        sa.Column("order_key", sa.LargeBinary(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("created_by_node_id", sa.Text(), nullable=False),
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_tokens_execution_id")
        ),
        sa.ForeignKeyConstraint(["row_id"], ["rows.row_id"], name=op.f("fk_tokens_row_id")),
        sa.ForeignKeyConstraint(
            ["run_id", "created_by_node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_tokens_run_id_created_by_node_id"),
        ),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
    )
    op.create_index(op.f("ix_tokens_row_id"), "tokens", ["row_id"], unique=False)
    op.create_index(op.f("ix_tokens_run_id_order_key"), "tokens", ["run_id", "order_key"], unique=False)
    op.create_table(
        "validation_errors",
        sa.Column("error_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("actual_type", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_validation_errors_execution_id")
        ),
        sa.ForeignKeyConstraint(["row_id"], ["rows.row_id"], name=op.f("fk_validation_errors_row_id")),
        sa.PrimaryKeyConstraint("error_id", name=op.f("pk_validation_errors")),
    )
    op.create_index(op.f("ix_validation_errors_row_id"), "validation_errors", ["row_id"], unique=False)
    op.create_table(
        "batch_members",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name=op.f("fk_batch_members_batch_id")),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_batch_members_execution_id")
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_batch_members_token_id")),
        sa.PrimaryKeyConstraint("batch_id", "ordinal", name=op.f("pk_batch_members")),
        sa.UniqueConstraint("token_id", "batch_id", name=op.f("uq_batch_members_token_id_batch_id")),
    )
    op.create_table(
        "batch_outputs",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name=op.f("fk_batch_outputs_batch_id")),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_batch_outputs_execution_id")
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_batch_outputs_token_id")),
        sa.PrimaryKeyConstraint("batch_id", "ordinal", name=op.f("pk_batch_outputs")),
        sa.UniqueConstraint("token_id", "batch_id", name=op.f("uq_batch_outputs_token_id_batch_id")),
    )
    op.create_table(
        "coalesce_events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("parent_token_id", sa.Text(), nullable=False),
        sa.Column("merged_token_id", sa.Text(), nullable=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("merge_strategy", sa.Text(), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_coalesce_events_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["merged_token_id"], ["tokens.token_id"], name=op.f("fk_coalesce_events_merged_token_id")
        ),
        sa.ForeignKeyConstraint(
            ["parent_token_id"], ["tokens.token_id"], name=op.f("fk_coalesce_events_parent_token_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_coalesce_events_run_id_node_id"),
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_coalesce_events")),
        sa.UniqueConstraint(
            "parent_token_id", "node_id", name=op.f("uq_coalesce_events_parent_token_id_node_id")
        ),
    )
    op.create_index(
        op.f("ix_coalesce_events_merged_token_id"), "coalesce_events", ["merged_token_id"], unique=False
    )
    op.create_index(
        op.f("ix_coalesce_events_run_id_node_id"), "coalesce_events", ["run_id", "node_id"], unique=False
    )
    op.create_table(
        "node_states",
        sa.Column("state_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("out_port", sa.Text(), nullable=True),
        sa.Column("order_key", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("input_hash", sa.LargeBinary(), nullable=True),
        sa.Column("output_hash", sa.LargeBinary(), nullable=True),
        sa.Column("context_before_json", sa.Text(), nullable=True),
        sa.Column("context_after_json", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("completed_at", sa.Text(), nullable=True),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status <> 'open' OR out_port IS NULL", name=op.f("ck_node_states_open_has_no_port")
        ),
        sa.CheckConstraint(
            "status IN ('open', 'completed', 'failed', 'interrupted')", name=op.f("ck_node_states_status")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_node_states_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_node_states_run_id_node_id"),
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_node_states_token_id")),
        sa.PrimaryKeyConstraint("state_id", name=op.f("pk_node_states")),
        sa.UniqueConstraint(
            "token_id", "node_id", "attempt", name=op.f("uq_node_states_token_id_node_id_attempt")
        ),
    )
    op.create_index(
        "ix_node_states_again",
        "node_states",
        ["run_id", "token_id"],
        unique=False,
        sqlite_where=sa.text("attempt <> 1"),
        postgresql_where=sa.text("attempt <> 1"),
    )
    op.create_index(
        "ix_node_states_failed",
        "node_states",
        ["run_id", "node_id", "order_key"],
        unique=False,
        sqlite_where=sa.text("status = 'failed'"),
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "ix_node_states_open",
        "node_states",
        ["run_id", "node_id"],
        unique=False,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        op.f("ix_node_states_run_id_node_id_out_port_order_key"),
        "node_states",
        ["run_id", "node_id", "out_port", "order_key"],
        unique=False,
    )
    op.create_table(
        "token_outcomes",
        sa.Column("outcome_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("is_terminal", sa.Boolean(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('completed', 'routed', 'forked', 'coalesced', 'consumed_in_batch', 'expanded', "
            "'quarantined', 'failed', 'discarded', 'handed_on', 'buffered')",
            name=op.f("ck_token_outcomes_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_token_outcomes_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "node_id"],
            ["nodes.run_id", "nodes.node_id"],
            name=op.f("fk_token_outcomes_run_id_node_id"),
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_token_outcomes_token_id")),
        sa.PrimaryKeyConstraint("outcome_id", name=op.f("pk_token_outcomes")),
    )
    op.create_index(
        op.f("ix_token_outcomes_run_id_outcome_sink"),
        "token_outcomes",
        ["run_id", "outcome", "sink"],
        unique=False,
    )
    op.create_index(
        "uq_token_outcomes_terminal",
        "token_outcomes",
        ["token_id"],
        unique=True,
        sqlite_where=sa.text("is_terminal"),
        postgresql_where=sa.text("is_terminal"),
    )
    op.create_table(
        "token_parents",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("parent_token_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "relation IN ('fork', 'join', 'expand', 'batch', 'adopted')",
            name=op.f("ck_token_parents_relation"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_token_parents_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["parent_token_id"], ["tokens.token_id"], name=op.f("fk_token_parents_parent_token_id")
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_token_parents_token_id")),
        sa.PrimaryKeyConstraint("token_id", "parent_token_id", name=op.f("pk_token_parents")),
        sa.UniqueConstraint("token_id", "ordinal", name=op.f("uq_token_parents_token_id_ordinal")),
    )
    op.create_index(
        op.f("ix_token_parents_parent_token_id"), "token_parents", ["parent_token_id"], unique=False
    )
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("state_id", sa.Text(), nullable=False),
        sa.Column("call_index", sa.Integer(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("try_no", sa.Integer(), nullable=False),
        sa.Column("reused_from", sa.Text(), nullable=True),
        sa.Column("call_type", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model_requested", sa.Text(), nullable=False),
        sa.Column("model_answered", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("response_hash", sa.LargeBinary(), nullable=True),
        sa.Column("template_hash", sa.LargeBinary(), nullable=True),
        sa.Column("variables_hash", sa.LargeBinary(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.Text(), nullable=True),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('open', 'answered', 'failed', 'unknown')", name=op.f("ck_calls_status")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_calls_execution_id")
        ),
        sa.ForeignKeyConstraint(["reused_from"], ["calls.call_id"], name=op.f("fk_calls_reused_from")),
        sa.ForeignKeyConstraint(["state_id"], ["node_states.state_id"], name=op.f("fk_calls_state_id")),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_calls")),
        sa.UniqueConstraint("state_id", "call_index", name=op.f("uq_calls_state_id_call_index")),
    )
    op.create_index("ix_calls_execution", "calls", ["execution_id"], unique=False)
    op.create_index(
        "ix_calls_open",
        "calls",
        ["state_id"],
        unique=False,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "routing_events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("state_id", sa.Text(), nullable=False),
        sa.Column("port", sa.Text(), nullable=False),
        sa.Column("expression", sa.Text(), nullable=True),
        sa.Column("truth", sa.Boolean(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["node_executions.execution_id"], name=op.f("fk_routing_events_execution_id")
        ),
        sa.ForeignKeyConstraint(
            ["state_id"], ["node_states.state_id"], name=op.f("fk_routing_events_state_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_routing_events")),
        sa.UniqueConstraint("state_id", name=op.f("uq_routing_events_state_id")),
    )
    op.create_table(
        "request_keys",
        sa.Column("request_key", sa.LargeBinary(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_request_keys_call_id")),
        sa.PrimaryKeyConstraint("request_key", "call_id", name=op.f("pk_request_keys")),
    )
    op.create_index(op.f("ix_request_keys_run_id"), "request_keys", ["run_id"], unique=False)
