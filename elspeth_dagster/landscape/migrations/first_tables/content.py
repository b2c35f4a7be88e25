"""Content: bodies, the salts that evidence is hashed with, and the fingerprints of requests."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_payloads()
    _create_row_salts()
    _create_request_keys()


def _create_payloads() -> None:
    op.create_table(
        "payloads",
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("salt_id", "content_hash", name=op.f("pk_payloads")),
    )


def _create_row_salts() -> None:
    op.create_table(
        "row_salts",
        sa.Column("salt_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("salt_id", name=op.f("pk_row_salts")),
    )
    op.create_index(op.f("ix_row_salts_run_id"), "row_salts", ["run_id"], unique=False)


def _create_request_keys() -> None:
    op.create_table(
        "request_keys",
        sa.Column("request_key", sa.LargeBinary(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_request_keys_call_id")),
        sa.PrimaryKeyConstraint("request_key", "call_id", name=op.f("pk_request_keys")),
    )
    op.create_index(op.f("ix_request_keys_run_id"), "request_keys", ["run_id"], unique=False)
