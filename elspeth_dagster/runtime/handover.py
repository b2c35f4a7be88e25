"""Tokens that cross a run's edges: adopted from an earlier run where it begins, handed on where it ends."""

from __future__ import annotations

from elspeth_dagster.landscape.adoption import LeftToken, known_tokens, left_tokens
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, Feed, Waiting, waiting_tokens
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import Outcome, Relation
from elspeth_dagster.pipeline.graph import SOURCE
from elspeth_dagster.runtime.recording import outcome_record
from elspeth_dagster.runtime.work import Work, pages


def adopt(work: Work) -> None:
    """Take over what left this node's feeders when they were last materialized, unless it was taken over before.

    An adopted token keeps its row, its place in the order and its salt, so that its hashes are those of the old one. It
    has the state at the feeder that the old one had, so that the node finds it as any other.
    """
    for port in work.node.inputs:
        run_id = work.scope.adopted_from.get(port.node_id)
        if run_id is None:
            continue
        for page in left_tokens(work.database, run_id, Feed(port.node_id, port.name, port.node_id == SOURCE)):
            work.check_stop()
            new_ids = {
                token.token_id: ids.adopted_token_id(work.handle.run_key, token.token_id) for token in page
            }
            known = known_tokens(work.database, list(new_ids.values()))
            unit = Unit()
            for token in page:
                if new_ids[token.token_id] not in known:
                    _adopt(work, unit, port.node_id, token, new_ids[token.token_id], run_id=run_id)
            work.submit(unit)
    work.flush()


def _adopt(work: Work, unit: Unit, feeder: str, token: LeftToken, token_id: str, *, run_id: str) -> None:
    handle = work.handle
    unit.insert(
        "tokens",
        sealed(
            "tokens", token_id, handle.run_id, token.row_id, token.order_key, token.branch, feeder, token.salt_id,
            handle.execution_id,
        ),
    )  # fmt: skip
    unit.insert(
        "token_parents",
        sealed("token_parents", token_id, token.token_id, 0, Relation.ADOPTED.value, handle.execution_id),
    )
    unit.insert(
        "node_states",
        sealed(
            "node_states", ids.state_id(token_id, feeder, 1), token_id, handle.run_id, feeder, token.port,
            token.order_key, 1, token.status, token.input_hash, token.output_hash, None,
            canonical_bytes({"adopted_from": run_id}).decode(), token.duration_ms, token.error_json,
            token.started_at, token.completed_at, handle.execution_id,
        ),
    )  # fmt: skip


def hand_on(work: Work) -> None:
    """End the tokens that left this node for one that the run did not select; a later run may adopt them."""
    for taker in work.pipeline.nodes.values():
        if taker.node_id in work.scope.selected:
            continue
        for port in taker.inputs:
            if port.node_id == work.node.node_id:
                _end(work, Waiting(work.handle.run_id, taker.node_id, [work.feed(port)], include_done=True))
    work.flush()


def _end(work: Work, of: Waiting) -> None:
    for page in pages(waiting_tokens(work.database, of, with_bodies=False), PAGE_TOKENS):
        unit, now = Unit(), work.now()
        for token in page:
            unit.insert(
                "token_outcomes",
                outcome_record(work, token, Outcome.HANDED_ON, sink=None, code=None, now=now),
            )
        work.submit(unit)
