"""Operational tables: who works on what right now, and what was purged."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_leases()
    _create_fences()
    _create_progress()
    _create_pool_members()
    _create_purges()


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "partition_key", name=op.f("pk_leases")),
    )


def _create_fences() -> None:
    op.create_table(
        "fences",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("dagster_run_id", sa.Text(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "node_id", name=op.f("pk_fences")),
    )


def _create_progress() -> None:
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


def _create_pool_members() -> None:
    op.create_table(
        "pool_members",
        sa.Column("pool_key", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("heartbeat_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pool_key", "member_id", name=op.f("pk_pool_members")),
    )


def _create_purges() -> None:
    op.create_table(
        "purges",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("purged_at", sa.Text(), nullable=False),
        sa.Column("older_than", sa.Text(), nullable=False),
        sa.Column("bodies", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "purged_at", name=op.f("pk_purges")),
    )
