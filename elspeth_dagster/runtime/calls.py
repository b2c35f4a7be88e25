"""One model call after another for one row: intent, durable, request, answer, durable.

Runs on the pool's event loop. The pool decides when a request may leave and whether a failed one is tried again; here
each attempt becomes a record under the row's state, and an answer that is recorded already is never bought again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from elspeth_dagster.errors import LandscapeError, ModelCallError, NodeStoppedError, RequestRefusedError
from elspeth_dagster.landscape.earlier import EarlierAnswer
from elspeth_dagster.landscape.records import Record, Unit
from elspeth_dagster.llm import ModelClient, Reply, read_reply
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.llm_question import Asked, LlmQuestion, Query
from elspeth_dagster.pooling import Again, report_headers
from elspeth_dagster.runtime.budget import Budget
from elspeth_dagster.runtime.call_records import CallRecorder
from elspeth_dagster.runtime.llm_rows import Fate, QueryWork, RowWork
from elspeth_dagster.runtime.recording import PAYLOAD_BYTES_MAX, opened_state, too_large
from elspeth_dagster.runtime.reuse import Reuse, echoed_id
from elspeth_dagster.runtime.work import Work


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
        self._records = CallRecorder(work, question.settings, reuse)

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
                self._records.reuse(row, self._reuse.under_own_salt(row, one, answer), reply)
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
            self._records.reuse(one.row, answer, reply)
            self._judge(one, reply)

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
        unit, call = self._records.intent(one, one.asked, state_id)
        began_s = self._work.clock.monotonic()
        try:
            # Durable before it leaves: a crash from here on leaves a call of unknown outcome, never an unknown call.
            await self._records.durable(unit)
            self._refuse_late(call)
            began_s = self._work.clock.monotonic()
            reply = await self._client.send(dict(one.asked.body))
        except ModelCallError as error:
            await self._records.failure(one.row, call, error, self._since_ms(began_s))
            if isinstance(error, RequestRefusedError):
                return self._refused(one, error)
            raise
        except (LandscapeError, NodeStoppedError):
            raise  # nothing was sent
        except BaseException:
            self._records.unknown(call)
            raise
        report_headers(reply.headers)
        said = self._read(one, reply.body)
        await self._records.answer(one.row, call, said, reply, latency_ms=self._since_ms(began_s))
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
            self._records.not_sent(call)
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

    def _since_ms(self, began_s: float) -> float:
        return round((self._work.clock.monotonic() - began_s) * 1000, 3)
