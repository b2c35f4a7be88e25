"""The evidence of rows: where each came from, its tokens, and how every token ended."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_rows()
    _create_tokens()
    _create_token_parents()
    _create_token_outcomes()
    _create_validation_errors()


def _create_rows() -> None:
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


def _create_tokens() -> None:
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


def _create_token_parents() -> None:
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


def _create_token_outcomes() -> None:
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


def _create_validation_errors() -> None:
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
