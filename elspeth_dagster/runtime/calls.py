"""One model call after another for one row: intent, durable, request, answer, durable.

Runs on the pool's event loop. The pool decides when a request may leave and whether a failed one is tried again; here
each attempt becomes a record under the row's state, and an answer that is recorded already is never bought again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from elspeth_dagster.errors import LandscapeError, ModelCallError, NodeStoppedError, RequestRefusedError
from elspeth_dagster.landscape.earlier import EarlierAnswer
from elspeth_dagster.landscape.records import Cell, Record, Unit, closed, opened, sealed
from elspeth_dagster.llm import ModelClient, RawReply, Reply, cost_usd, read_reply
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import CallStatus
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.llm_question import Asked, LlmQuestion, Query
from elspeth_dagster.pooling import Again, report_headers
from elspeth_dagster.runtime.budget import Budget
from elspeth_dagster.runtime.llm_rows import Fate, QueryWork, RowWork
from elspeth_dagster.runtime.recording import PAYLOAD_BYTES_MAX, error_json, opened_state, payload, too_large
from elspeth_dagster.runtime.reuse import Reuse, echoed_id
from elspeth_dagster.runtime.work import Work

CALL_TYPE = "chat_completion"
REQUEST_ID_CHARS_MAX = 200


class CallJournal:
    """Asks the model for the rows of one llm node and records every attempt."""

    def __init__(
        self,
        work: Work,
        question: LlmQuestion,
        client: ModelClient,
        *,
        answer_attempts: int,
        budget: Budget,
        reuse: Reuse,
    ) -> None:
        self._work = work
        self._question = question
        self._client = client
        self._answer_attempts = answer_attempts
        self._budget = budget
        self._reuse = reuse

    # In the caller's thread ------------------------------------------------------------------------------------------

    def open(
        self,
        token: Token,
        row: Row,
        *,
        attempt: int,
        earlier: Sequence[EarlierAnswer],
        stored: Record | None = None,
        fate: Fate | None = None,
    ) -> RowWork:
        """Prepare a row: its open state, its requests, and the answers that an earlier execution paid for.

        ``stored`` is its state where that is recorded already; ``fate`` what it shares with other rows.
        """
        state_id = ids.state_id(token.token_id, self._work.node.node_id, attempt)
        state = stored or opened_state(self._work, token, attempt, token.row_hash)
        opened_row = RowWork(token, row, state_id, attempt, state, Unit(), fate=fate)
        if stored is None:
            opened_row.pending.insert("node_states", state)
        opened_row.is_state_stored = stored is not None
        for query in self._question.queries:
            one = QueryWork(opened_row, query)
            opened_row.queries.append(one)
            asked = self._asked(token, row, query)
            if isinstance(asked, Rejected):
                one.reject(asked)
            else:
                one.asked = asked
                self._take_over(one, [answer for answer in earlier if answer.query == query.name])
        self._take_from_others(opened_row)
        return opened_row

    def _take_from_others(self, row: RowWork) -> None:
        """Use what an earlier run was answered to an identical request, if that is still valid here."""
        unanswered = {one: one.asked for one in row.unanswered() if one.asked is not None}
        for one, answer in self._reuse.answers(unanswered).items():
            assert answer.body is not None  # noqa: S101 - only answers with a body are found
            reply = self._read(one, answer.body)
            if isinstance(reply.result, Succeeded):
                self._record_reuse(row, self._reuse.under_own_salt(row, one, answer), reply)
                self._judge(one, reply)

    def _read(self, one: QueryWork, body: bytes) -> Reply:
        """What a body says, and whether it says it about this row."""
        reply = read_reply(body, one.query.answer)
        if not isinstance(reply.result, Succeeded):
            return reply
        checked = self._question.checked(
            reply.result.value, row_id=echoed_id(one.row.token, self._work.handle.run_key)
        )
        return replace(reply, result=checked if isinstance(checked, Rejected) else Succeeded(checked))

    def _asked(self, token: Token, row: Row, query: Query) -> Asked | Rejected:
        """The query's request, unless it is too large to be kept."""
        asked = self._question.ask(row, query, row_id=echoed_id(token, self._work.handle.run_key))
        if isinstance(asked, Asked) and len(canonical_bytes(dict(asked.body))) > PAYLOAD_BYTES_MAX:
            return too_large(len(canonical_bytes(dict(asked.body))), what="request")
        return asked

    def _take_over(self, one: QueryWork, earlier: Sequence[EarlierAnswer]) -> None:
        """Use answers of an earlier execution as the tries that they were, valid or not."""
        for answer in earlier:
            if answer.body is None or one.answer is not None or one.rejected is not None:
                continue  # purged, so it must be asked again; or there is nothing left to ask
            reply = self._read(one, answer.body)
            self._record_reuse(one.row, answer, reply)
            self._judge(one, reply)

    def _record_reuse(self, row: RowWork, earlier: EarlierAnswer, reply: Reply) -> None:
        settings, now = self._question.settings, self._work.now()
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

    # On the loop -----------------------------------------------------------------------------------------------------

    async def ask(self, one: QueryWork, state_id: str) -> Succeeded[None] | Rejected:
        """Make one call for one query.

        Raises:
            CapacityError, TransientError: the pool tries again.
            Again: the answer was invalid, and there is a try left.
            ModelUnusableError: no call of this node can succeed.
            LandscapeError: the intent could not be recorded, so nothing was sent.
        """
        assert one.asked is not None  # noqa: S101 - queries without a request are not sent
        if one.row.is_lost:
            return Rejected("not_asked", "Another row of its batch failed before it was asked about.")
        self._budget.refuse_spent()
        unit, call = self._intent(one, one.asked, state_id)
        began_s = self._work.clock.monotonic()
        try:
            # Durable before it leaves: a crash from here on leaves a call of unknown outcome, never an unknown call.
            await self._durable(unit)
            self._refuse_late(call)
            began_s = self._work.clock.monotonic()
            reply = await self._client.send(dict(one.asked.body))
        except ModelCallError as error:
            await self._record_failure(one.row, call, error, self._since_ms(began_s))
            if isinstance(error, RequestRefusedError):
                return self._refused(one, error)
            raise
        except (LandscapeError, NodeStoppedError):
            raise  # nothing was sent
        except BaseException:
            self._record_unknown(call)
            raise
        report_headers(reply.headers)
        said = self._read(one, reply.body)
        await self._record_answer(one.row, call, said, reply, latency_ms=self._since_ms(began_s))
        self._judge(one, said)
        if one.rejected is not None:
            return one.rejected
        if one.answer is None:
            raise Again
        return Succeeded(None)

    def _refuse_late(self, call: Record) -> None:
        """The run was stopped while the intent was being stored: the request stays here, and is known not to have left.

        Raises:
            NodeStoppedError: with ``interrupted``.
        """
        if self._work.stop.is_set():
            unit = Unit()
            not_sent = canonical_bytes({"code": "not_sent"}).decode()
            self._close(unit, call, status=CallStatus.FAILED.value, error_json=not_sent)
            self._work.writer.submit(self._work.handle, unit)
            self._work.check_stop()

    def _refused(self, one: QueryWork, error: RequestRefusedError) -> Rejected:
        facts: dict[str, JSON] = {"status_code": error.status_code, "error_type": error.error_type}
        one.reject(Rejected(error.code, error.what, facts=facts))
        assert one.rejected is not None  # noqa: S101 - just now
        return one.rejected

    def _judge(self, one: QueryWork, reply: Reply) -> None:
        """Take a valid answer; count an invalid one as the try it was."""
        if isinstance(reply.result, Succeeded):
            one.answer = reply.result.value
        elif one.try_no >= self._answer_attempts:
            one.reject(
                Rejected(
                    reply.result.reason,
                    reply.result.message,
                    facts={**reply.result.facts, "answers": one.try_no},
                    detail=reply.result.detail,
                )
            )
        else:
            one.try_no += 1

    def _intent(self, one: QueryWork, asked: Asked, state_id: str) -> tuple[Unit, Record]:
        """The open record of a call, and all that must be durable with it."""
        row = one.row
        unit, row.pending = row.pending, Unit()
        token, work, settings = row.token, self._work, self._question.settings
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

    async def _record_answer(
        self, row: RowWork, call: Record, reply: Reply, raw: RawReply, *, latency_ms: float
    ) -> None:
        unit = Unit()
        cost = cost_usd(self._question.settings.price, reply.prompt_tokens, reply.completion_tokens)
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
        self._count(CallStatus.ANSWERED, reply, cost, latency_ms)
        if raw.is_redacted:
            self._work.tally.calls["redacted"] += 1
        await self._durable(unit)

    async def _record_failure(
        self, row: RowWork, call: Record, error: ModelCallError, latency_ms: float
    ) -> None:
        unit = Unit()
        facts: dict[str, JSON] = {"error_type": error.error_type}
        request_id = error.headers.get("x-request-id") or error.headers.get("request-id")
        if request_id:
            facts["request_id"] = request_id[:REQUEST_ID_CHARS_MAX]
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
                Rejected(error.code, error.what, facts=facts),
            ),
        )
        self._work.tally.calls[CallStatus.FAILED.value] += 1
        self._work.tally.calls[f"http_{error.status_code}" if error.status_code else error.error_type] += 1
        await self._durable(unit)

    def _record_unknown(self, call: Record) -> None:
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

    def _close(self, unit: Unit, call: Record, **changes: Cell) -> None:
        unit.close("calls", closed("calls", call, answered_at=self._work.now(), **changes))

    def _count(self, status: CallStatus, reply: Reply, cost: Decimal | None, latency_ms: float) -> None:
        tally = self._work.tally
        tally.calls[status.value] += 1
        tally.latency_ms.add(latency_ms)
        tally.paid(
            prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens, cost_usd=cost
        )

    async def _durable(self, unit: Unit) -> None:
        await self._work.writer.submit_in_loop(self._work.handle, unit)

    def _since_ms(self, began_s: float) -> float:
        return round((self._work.clock.monotonic() - began_s) * 1000, 3)


def _reply_error(reply: Reply) -> str | None:
    """Why an answer was not valid, as evidence: its code and facts."""
    if isinstance(reply.result, Succeeded):
        return None
    evidence: Mapping[str, JSON] = {"code": reply.result.reason, **reply.result.facts}
    return canonical_bytes(dict(evidence)).decode()
