"""The records of model calls: intent, answer, failure, and what is known of a call that was broken off.

Each method writes what happened; whom to ask, and when, is left to `runtime.calls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from elspeth_dagster.errors import ModelCallError
from elspeth_dagster.landscape.earlier import EarlierAnswer
from elspeth_dagster.landscape.records import Cell, Record, Unit, closed, opened, sealed
from elspeth_dagster.llm import ModelSettings, RawReply, Reply, cost_usd
from elspeth_dagster.llm.headers import request_id
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import CallStatus
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.llm_question import Asked
from elspeth_dagster.runtime.llm_rows import QueryWork, RowWork
from elspeth_dagster.runtime.recording import error_json, payload
from elspeth_dagster.runtime.reuse import Reuse
from elspeth_dagster.runtime.work import Work

CALL_TYPE = "chat_completion"
REQUEST_ID_CHARS_MAX = 200


class CallRecorder:
    """Records the calls of one execution of a node."""

    def __init__(self, work: Work, settings: ModelSettings, reuse: Reuse) -> None:
        self._work = work
        self._settings = settings
        self._reuse = reuse

    def intent(self, one: QueryWork, asked: Asked, state_id: str) -> tuple[Unit, Record]:
        """The open record of a call, and all that must be durable with it."""
        row = one.row
        unit, row.pending = row.pending, Unit()
        token, work, settings = row.token, self._work, self._settings
        body = canonical_bytes(dict(asked.body))
        variables = canonical_bytes(asked.variables)
        call = opened(
            ids.call_id(state_id, row.call_count), state_id, row.call_count, one.query.name, one.try_no, None,
            CALL_TYPE, settings.provider, settings.model, None, CallStatus.OPEN.value, None,
            payload(unit, token.salt_id, token.salt, body), None, asked.template_hash,
            content_hash(token.salt, variables), None, None, None, None, None, work.now(), None,
            work.handle.execution_id,
        )  # fmt: skip
        row.call_count += 1
        row.is_state_stored = True
        unit.insert("calls", call)
        self._reuse.remember(unit, str(call[0]), body)
        return unit, call

    def reuse(self, row: RowWork, earlier: EarlierAnswer, reply: Reply) -> None:
        """An answer that was paid for before, as a call of this state."""
        settings, now = self._settings, self._work.now()
        row.pending.insert(
            "calls",
            sealed(
                "calls", ids.call_id(row.state_id, row.call_count), row.state_id, row.call_count, earlier.query,
                earlier.try_no, earlier.call_id, CALL_TYPE, settings.provider, settings.model,
                earlier.model_answered, CallStatus.ANSWERED.value, earlier.http_status, earlier.request_hash,
                earlier.response_hash, earlier.template_hash, earlier.variables_hash, earlier.prompt_tokens,
                earlier.completion_tokens, None, None, _reply_error(reply), now, now, self._work.handle.execution_id,
            ),
        )  # fmt: skip
        row.call_count += 1
        row.reused += 1
        self._work.tally.calls["reused"] += 1

    async def answer(
        self, row: RowWork, call: Record, reply: Reply, raw: RawReply, *, latency_ms: float
    ) -> None:
        """A call that was answered, validly or not; durable on return."""
        unit = Unit()
        cost = cost_usd(self._settings.price, reply.prompt_tokens, reply.completion_tokens)
        self._close(
            unit,
            call,
            status=CallStatus.ANSWERED.value,
            model_answered=reply.model_answered,
            http_status=raw.status,
            response_hash=payload(unit, row.token.salt_id, row.token.salt, raw.body),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost_usd=None if cost is None else float(cost),
            latency_ms=latency_ms,
            error_json=_reply_error(reply),
        )
        self._count_answer(reply, cost, latency_ms)
        if raw.is_redacted:
            self._work.tally.calls["redacted"] += 1
        await self.durable(unit)

    async def failure(self, row: RowWork, call: Record, error: ModelCallError, latency_ms: float) -> None:
        """A call that failed, or was refused; durable on return."""
        unit = Unit()
        self._close(
            unit,
            call,
            status=CallStatus.FAILED.value,
            http_status=error.status_code,
            latency_ms=latency_ms,
            error_json=error_json(
                self._work.redactor,
                unit,
                row.token.salt_id,
                row.token.salt,
                Rejected(error.code, error.what, facts=facts_of(error)),
            ),
        )
        self._work.tally.calls[CallStatus.FAILED.value] += 1
        self._work.tally.calls[f"http_{error.status_code}" if error.status_code else error.error_type] += 1
        await self.durable(unit)

    def unknown(self, call: Record) -> None:
        """The call was broken off: it may have been answered, and paid for."""
        unit = Unit()
        self._close(
            unit,
            call,
            status=CallStatus.UNKNOWN.value,
            error_json=canonical_bytes({"code": "outcome_unknown"}).decode(),
        )
        self._work.tally.calls[CallStatus.UNKNOWN.value] += 1
        self._work.writer.submit(self._work.handle, unit)

    def not_sent(self, call: Record) -> None:
        """The intent is stored, and the request is known not to have left."""
        unit = Unit()
        not_sent = canonical_bytes({"code": "not_sent"}).decode()
        self._close(unit, call, status=CallStatus.FAILED.value, error_json=not_sent)
        self._work.writer.submit(self._work.handle, unit)

    async def durable(self, unit: Unit) -> None:
        """Return once ``unit`` is stored.

        Raises:
            LandscapeError: it could not be.
        """
        await self._work.writer.submit_in_loop(self._work.handle, unit)

    def _close(self, unit: Unit, call: Record, **changes: Cell) -> None:
        unit.close("calls", closed("calls", call, answered_at=self._work.now(), **changes))

    def _count_answer(self, reply: Reply, cost: Decimal | None, latency_ms: float) -> None:
        tally = self._work.tally
        tally.calls[CallStatus.ANSWERED.value] += 1
        tally.latency_ms.add(latency_ms)
        tally.paid(
            prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens, cost_usd=cost
        )


def facts_of(error: ModelCallError) -> dict[str, JSON]:
    """What is recorded of a failed call beside its code: the provider's support finds it by its id."""
    facts: dict[str, JSON] = {"error_type": error.error_type}
    if found := request_id(error.headers):
        facts["request_id"] = found[:REQUEST_ID_CHARS_MAX]
    return facts


def _reply_error(reply: Reply) -> str | None:
    """Why an answer was not valid, as evidence: its code and facts."""
    if isinstance(reply.result, Succeeded):
        return None
    evidence: Mapping[str, JSON] = {"code": reply.result.reason, **reply.result.facts}
    return canonical_bytes(dict(evidence)).decode()
