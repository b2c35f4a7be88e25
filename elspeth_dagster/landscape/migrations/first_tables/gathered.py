"""The evidence of tokens that were taken together: a join's decisions, and batches."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_coalesce_events()
    _create_batches()
    _create_batch_members()
    _create_batch_outputs()


def _create_coalesce_events() -> None:
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


def _create_batches() -> None:
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


def _create_batch_members() -> None:
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


def _create_batch_outputs() -> None:
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
