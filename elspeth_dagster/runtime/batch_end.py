"""The end of a batch in one unit: its members' ends, its outputs, its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from elspeth_dagster.landscape.records import Record, Unit, closed, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import OUT_PORT, BatchStatus, Outcome, Relation, StateStatus
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.base import Emitted
from elspeth_dagster.nodes.batch_run import BatchResult
from elspeth_dagster.runtime.batches import Batch
from elspeth_dagster.runtime.children import MadeToken, make_token
from elspeth_dagster.runtime.recording import (
    PAYLOAD_BYTES_MAX,
    Settled,
    error_json,
    final_state,
    outcome_record,
    payload,
    settle,
    settle_failure,
    too_large,
)
from elspeth_dagster.runtime.work import Work

NO_REASONS: Mapping[str, Rejected] = MappingProxyType({})


def settle_batch(
    work: Work,
    config: AggregateConfig,
    batch: Batch,
    result: BatchResult,
    *,
    duration_ms: float,
    own: Mapping[str, Rejected] = NO_REASONS,
) -> Unit:
    """Everything that the end of a batch leaves behind: its members' ends, its outputs, its own.

    ``own`` are the reasons of members that failed themselves, where the batch failed.
    """
    end = _End(work, batch, batch.pending, work.now(), round(duration_ms, 3))
    result = _kept(config.checked(result, members=len(batch.members)))
    if isinstance(result, Rejected):
        end.fail(result, own)
    elif config.is_passthrough:
        end.pass_through(result.value)
    else:
        end.transform(result.value)
    return end.unit


def _kept(result: BatchResult) -> BatchResult:
    """A batch is all or nothing: one row that is too large to be kept fails it."""
    if isinstance(result, Rejected):
        return result
    for row in result.value:
        size_bytes = len(canonical_bytes(row))
        if size_bytes > PAYLOAD_BYTES_MAX:
            return too_large(size_bytes)
    return result


@dataclass(slots=True)
class _End:
    """The unit of a batch's end, as it is made."""

    work: Work
    batch: Batch
    unit: Unit
    now: str
    duration_ms: float

    def transform(self, rows: Sequence[Row]) -> None:
        """New tokens, whose parents are all members."""
        batch = self.batch
        for index, row in enumerate(rows):
            row_hash = payload(self.unit, batch.batch_id, batch.salt, canonical_bytes(row))
            token_id = ids.item_token_id(batch.batch_id, index)
            if batch.output is None:
                self._make(index, token_id, row_hash)
            else:
                self._end_output(Settled(StateStatus.COMPLETED, OUT_PORT, row_hash, None))
                self.work.tally.rows_out += 1
                self.work.tally.by_port[OUT_PORT] += 1
            self._output(index, token_id)
        for ordinal, token in enumerate(batch.members):
            self._member(ordinal, token, Settled(StateStatus.COMPLETED, None, None, None))
            self.unit.insert(
                "token_outcomes",
                outcome_record(
                    self.work, token, Outcome.CONSUMED_IN_BATCH, sink=None, code=None, now=self.now
                ),
            )
            self.work.handle.rows_done += 1
        self._close(BatchStatus.COMPLETED, outputs=len(rows))

    def _make(self, index: int, token_id: str, row_hash: bytes) -> None:
        """A token that did not exist before."""
        batch = self.batch
        made = MadeToken(
            token_id=token_id,
            row_id=None,
            order_key=ids.item_order_key(batch.last.order_key, index),
            branch=None,
            salt_id=batch.batch_id,
            row_hash=row_hash,
        )
        make_token(
            self.work,
            self.unit,
            made,
            parents=[token.token_id for token in batch.members],
            relation=Relation.BATCH,
            started_at=batch.fired_at,
            now=self.now,
            duration_ms=self.duration_ms,
            context_json=_json({"batch": {"batch_id": batch.batch_id, "output": index}}),
        )

    def _end_output(self, settled: Settled) -> None:
        """The end of the one visit of the token that stands for the batch."""
        batch, token = self.batch, self.batch.output
        assert token is not None  # noqa: S101 - asked before
        context: dict[str, JSON] = {
            "batch": {"batch_id": batch.batch_id, "output": 0},
            **batch.contexts.get(token.token_id, {}),
        }
        self._close_state(batch.states[token.token_id], settled, context)

    def pass_through(self, rows: Sequence[Row]) -> None:
        """The members go on, each with its row."""
        for ordinal, (token, row) in enumerate(zip(self.batch.members, rows, strict=True)):
            settled = settle(
                self.work,
                self.unit,
                token=token,
                state_id=self._state_id(token),
                decision=Emitted(row),
                now=self.now,
            )
            self._member(ordinal, token, settled)
            self._output(ordinal, token.token_id)
        self._close(BatchStatus.COMPLETED, outputs=len(rows))

    def fail(self, why: Rejected, own: Mapping[str, Rejected]) -> None:
        """Every member fails: with the batch's reason, or with its ``own``."""
        batch, work = self.batch, self.work
        for ordinal, token in enumerate(batch.members):
            reason = own.get(token.token_id, why)
            told = Rejected(
                reason.reason, reason.message, {**reason.facts, "batch_id": batch.batch_id}, reason.detail
            )
            self._member(ordinal, token, settle_failure(work, self.unit, token, told, self.now))
        evidence = error_json(work.redactor, self.unit, batch.batch_id, batch.salt, why)
        if batch.output is not None:  # it never was a row: it goes to no sink, and counts as none
            self._end_output(Settled(StateStatus.FAILED, None, None, evidence))
            self.unit.insert(
                "token_outcomes",
                outcome_record(work, batch.output, Outcome.FAILED, sink=None, code=why.reason, now=self.now),
            )
        self._close(BatchStatus.FAILED, outputs=0, error=evidence)

    def _state_id(self, token: Token) -> str:
        return ids.state_id(token.token_id, self.work.node.node_id, self.batch.attempt(token))

    def _output(self, ordinal: int, token_id: str) -> None:
        cells = (self.batch.batch_id, ordinal, token_id, self.work.handle.execution_id)
        self.unit.insert("batch_outputs", sealed("batch_outputs", *cells))

    def _member(self, ordinal: int, token: Token, settled: Settled) -> None:
        """The end of a member's visit: of its open state, or of one that was never open."""
        batch = self.batch
        context: dict[str, JSON] = {
            "batch": {"batch_id": batch.batch_id, "ordinal": ordinal, "trigger": batch.trigger},
            **batch.contexts.get(token.token_id, {}),
        }
        self.work.tally.rows_in += 1
        state = batch.states.get(token.token_id)
        if state is not None:
            self._close_state(state, settled, context)
            return
        self.unit.insert(
            "node_states",
            final_state(
                self.work,
                token,
                self._state_id(token),
                batch.attempt(token),
                settled,
                context_json=_json(context),
                duration_ms=self.duration_ms,
                started_at=batch.fired_at,
                completed_at=self.now,
            ),
        )

    def _close_state(self, state: Record, settled: Settled, context: dict[str, JSON]) -> None:
        final = closed(
            "node_states",
            state,
            status=settled.status.value,
            out_port=settled.out_port,
            output_hash=settled.output_hash,
            error_json=settled.error_json,
            context_after_json=_json(context),
            duration_ms=self.duration_ms,
            completed_at=self.now,
        )
        self.unit.close("node_states", final)

    def _close(self, status: BatchStatus, *, outputs: int, error: str | None = None) -> None:
        final = closed(
            "batches",
            self.batch.record,
            status=status.value,
            output_count=outputs,
            error_json=error,
            completed_at=self.now,
            execution_id=self.work.handle.execution_id,
        )
        self.unit.close("batches", final)


def _json(context: dict[str, JSON]) -> str:
    return canonical_bytes(context).decode()
