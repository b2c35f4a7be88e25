"""The evidence of visits: each token at each node, the calls made there, and which way a gate sent it."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Create them."""
    _create_node_states()
    _create_calls()
    _create_routing_events()


def _create_node_states() -> None:
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


def _create_calls() -> None:
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


def _create_routing_events() -> None:
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
