"""The evidence of a run: its attempts, its graph, the executions of its nodes, their files and seals."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_runs()
    _create_run_attempts()
    _create_nodes()
    _create_edges()
    _create_node_executions()
    _create_artifacts()
    _create_seals()


def _create_runs() -> None:
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


def _create_run_attempts() -> None:
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


def _create_nodes() -> None:
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


def _create_edges() -> None:
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


def _create_node_executions() -> None:
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


def _create_artifacts() -> None:
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


def _create_seals() -> None:
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
