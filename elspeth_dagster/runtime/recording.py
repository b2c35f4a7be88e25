"""Turn decisions into records: payloads, states, routing events, outcomes."""

from __future__ import annotations

from typing import Final, NamedTuple

from elspeth_dagster.files import recordable
from elspeth_dagster.landscape.records import Record, Unit, opened, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import ERROR_PORT, Outcome, StateStatus
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.base import Decision, StepConfig
from elspeth_dagster.nodes.source import DISCARD
from elspeth_dagster.runtime.work import Work

PAYLOAD_BYTES_MAX: Final = 1024 * 1024
"""A row, request or response beyond it is refused: it is a document, and belongs where documents are kept."""


class Settled(NamedTuple):
    """How a state ends: the columns that the decision determines. A tuple, since one is made for each row."""

    status: StateStatus
    out_port: str | None
    output_hash: bytes | None
    error_json: str | None


def payload(unit: Unit, salt_id: str, salt: bytes, body: bytes) -> bytes:
    """Store a body beside the row's other bodies; returns its salted hash."""
    digest = content_hash(salt, body)
    unit.insert("payloads", (salt_id, digest, body))
    return digest


def settle(work: Work, unit: Unit, *, token: Token, state_id: str, decision: Decision, now: str) -> Settled:
    """Put into ``unit`` what a decision leaves behind, except the state itself."""
    if isinstance(decision, Rejected):
        return settle_failure(work, unit, token, decision, now)
    is_gate = work.node.kind == "gate"
    body = token.body if is_gate else canonical_bytes(decision.row)  # a gate hands the row on as it came
    if len(body) > PAYLOAD_BYTES_MAX:
        return settle_failure(work, unit, token, too_large(len(body)), now)
    same = body == token.body
    output_hash = token.row_hash if same else payload(unit, token.salt_id, token.salt, body)
    if is_gate:
        cells = (state_id, state_id, decision.port, decision.expression, decision.expression is not None)
        unit.insert("routing_events", sealed("routing_events", *cells, work.handle.execution_id))
    work.tally.rows_out += 1
    work.tally.by_port[decision.port] += 1
    work.handle.rows_done += 1
    return Settled(StateStatus.COMPLETED, decision.port, output_hash, None)


def too_large(size_bytes: int, *, what: str = "row") -> Rejected:
    """The error of a row, or a request, that grew beyond the bound."""
    return Rejected(
        "payload_too_large",
        f"The {what} takes {size_bytes:,} bytes; at most {PAYLOAD_BYTES_MAX:,} are kept.",
        facts={"size_bytes": size_bytes, "max_bytes": PAYLOAD_BYTES_MAX},
    )


def settle_failure(work: Work, unit: Unit, token: Token, rejected: Rejected, now: str) -> Settled:
    """Put into ``unit`` what a failed row leaves behind, except its state."""
    config = work.node.config
    taker = config.on_error if isinstance(config, StepConfig) else None
    port = ERROR_PORT if taker not in {None, DISCARD} else None
    if port is None:
        outcome = Outcome.DISCARDED if taker == DISCARD else Outcome.FAILED
        unit.insert(
            "token_outcomes", outcome_record(work, token, outcome, sink=None, code=rejected.reason, now=now)
        )
    work.tally.failed(rejected.reason, token.token_id)
    work.handle.rows_done += 1
    work.handle.rows_failed += 1
    failed = error_json(work.redactor, unit, token.salt_id, token.salt, rejected)
    return Settled(StateStatus.FAILED, port, None, failed)


def error_json(redactor: Redactor, unit: Unit, salt_id: str, salt: bytes, rejected: Rejected) -> str:
    """The error as evidence: code and facts; foreign text goes to the payloads, by hash and without our secrets."""
    evidence: dict[str, JSON] = {"code": rejected.reason, **rejected.facts}
    if rejected.message or rejected.detail:
        detail = redactor.bytes(canonical_bytes(recordable({"message": rejected.message, **rejected.detail})))
        evidence["detail_hash"] = payload(unit, salt_id, salt, detail).hex()
    return canonical_bytes(evidence).decode()


def outcome_record(
    work: Work, token: Token, outcome: Outcome, *, sink: str | None, code: str | None, now: str
) -> Record:
    """A token's outcome at this node."""
    return sealed(
        "token_outcomes", ids.outcome_id(token.token_id, outcome), work.handle.run_id, token.token_id, outcome.value,
        outcome.is_terminal, work.node.node_id, sink, code, now, work.handle.execution_id,
    )  # fmt: skip


def opened_state(work: Work, token: Token, attempt: int, input_hash: bytes | None) -> Record:
    """A visit of a token to this node that has begun; a token that the node makes comes without an input."""
    return opened(
        ids.state_id(token.token_id, work.node.node_id, attempt), token.token_id, work.handle.run_id,
        work.node.node_id, None, token.order_key, attempt, StateStatus.OPEN.value, input_hash, None, None, None,
        None, None, work.now(), None, work.handle.execution_id,
    )  # fmt: skip


def final_state(
    work: Work,
    token: Token,
    state_id: str,
    attempt: int,
    settled: Settled,
    *,
    context_json: str | None,
    duration_ms: float,
    started_at: str,
    completed_at: str,
) -> Record:
    """A state that was never open: the whole visit in one record."""
    return sealed(
        "node_states", state_id, token.token_id, work.handle.run_id, work.node.node_id, settled.out_port,
        token.order_key, attempt, settled.status.value, token.row_hash, settled.output_hash, None, context_json,
        duration_ms, settled.error_json, started_at, completed_at, work.handle.execution_id,
    )  # fmt: skip
