"""The open states of a batch: of its members, and of the row that one answer about all of them will become."""

from __future__ import annotations

from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.outcome import OUT_PORT, Relation
from elspeth_dagster.model.token import Token
from elspeth_dagster.runtime.batches import Batch
from elspeth_dagster.runtime.recording import opened_state
from elspeth_dagster.runtime.work import Work


def open_members(work: Work, batch: Batch, unit: Unit) -> None:
    """Each member's state, durable with the batch itself: a call about a member comes under it."""
    for token in batch.members:
        state = opened_state(work, token, batch.attempt(token), token.row_hash)
        batch.states[token.token_id] = state
        unit.insert("node_states", state)


def open_output(work: Work, batch: Batch, unit: Unit) -> None:
    """The token that a batch becomes, before it has a row, with its open state: calls about the batch come under it."""
    handle = work.handle
    token = Token(
        token_id=ids.item_token_id(batch.batch_id, 0),
        row_id=None,
        order_key=ids.item_order_key(batch.last.order_key, 0),
        salt_id=batch.batch_id,
        salt=batch.salt,
        port=OUT_PORT,
        from_node_id=work.node.node_id,
        row_hash=b"",
        body=b"",
    )
    batch.output = token
    batch.attempts |= work.attempts([token.token_id])
    unit.insert(
        "tokens",
        sealed(
            "tokens", token.token_id, handle.run_id, None, token.order_key, None, handle.node_id, batch.batch_id,
            handle.execution_id,
        ),
    )  # fmt: skip
    for ordinal, member in enumerate(batch.members):
        parent = (token.token_id, member.token_id, ordinal, Relation.BATCH.value, handle.execution_id)
        unit.insert("token_parents", sealed("token_parents", *parent))
    state = opened_state(work, token, batch.attempt(token), None)
    batch.states[token.token_id] = state
    unit.insert("node_states", state)
