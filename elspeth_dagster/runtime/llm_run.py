"""Run an llm node: rows overlap in the pool, and leave it in the order they came.

A row that needs no call (its answer is recorded already, or its prompt failed) does not pass the pool, and keeps its
place in the order all the same.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import cast

from elspeth_dagster.errors import ElspethError, NodeStoppedError
from elspeth_dagster.landscape.earlier import earlier_answers
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.llm import UNREACHABLE_ERROR_TYPES, ModelClient
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.result import Rejected, RowResult
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Decision
from elspeth_dagster.nodes.llm import LlmConfig, LlmQuestion
from elspeth_dagster.pooling import BufferEntry, PooledExecutor, RowContext
from elspeth_dagster.runtime.calls import CallJournal, RowWork
from elspeth_dagster.runtime.recording import settle
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages

Entry = BufferEntry[RowResult[RowWork]]


def run_llm(work: Work, config: LlmConfig) -> None:
    """Ask the model about every waiting token; the pool's stats end up in ``work.pool_stats``, whatever happens.

    Raises:
        MissingSecretError: the model's key is not set.
        NodeStoppedError: too many rows failed, the model cannot be used, or the run is to end.
    """
    model = work.model_of(config.model)
    question = config.compile(work.pipeline.home, model.settings)
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    with PooledExecutor(config.pool, clock=work.clock) as pool:
        client = ModelClient(model.settings, api_key=model.api_key, pool_size=config.pool.pool_size)
        pool.on_close(client.aclose)
        journal = CallJournal(work, question, client, answer_attempts=config.answer_attempts)
        _Node(work, config, question, journal).run(pool)


class _Node:
    """The rows between the Landscape and the pool. Everything here runs in the caller's thread."""

    def __init__(self, work: Work, config: LlmConfig, question: LlmQuestion, journal: CallJournal) -> None:
        self._work = work
        self._config = config
        self._question = question
        self._journal = journal
        self._in_order: deque[RowWork] = deque()
        self._began_s = work.clock.monotonic()

    def run(self, pool: PooledExecutor) -> None:
        try:
            with pool.stream(self._contexts(), self._journal.ask) as stream:
                for entry in stream:
                    self._release_uncalled()
                    self._release(self._in_order.popleft(), entry)
                    self._work.check_stop()
            self._release_uncalled()
            self._work.flush()
        except BaseException:
            pool.close()  # what is in flight ends, and its answers are recorded, before the states are closed
            self._interrupt()
            raise
        finally:
            self._work.pool_stats = cast("Mapping[str, JSON]", pool.get_stats())

    def _contexts(self) -> Iterator[RowContext[RowWork]]:
        """Rows that need a call, in order; pulled by the pool as it has room."""
        row_index = 0
        for page in pages(self._work.tokens(), PAGE_TOKENS):
            token_ids = [token.token_id for token in page]
            attempts = self._work.attempts(token_ids)
            earlier = (
                earlier_answers(self._work.database, self._work.node.node_id, token_ids) if attempts else {}
            )
            for token in page:
                attempt = attempts.get(token.token_id, 0) + 1
                state_id = ids.state_id(token.token_id, self._work.node.node_id, attempt)
                row = RowWork(token, row_of(token), state_id, attempt)
                self._journal.open(row, earlier.get(token.token_id, []))
                self._in_order.append(row)
                if row.needs_call:
                    yield RowContext(row, state_id, row_index)
                    row_index += 1
                else:
                    self._release_uncalled()

    def _release_uncalled(self) -> None:
        while self._in_order and not self._in_order[0].needs_call and not self._in_order[0].is_state_stored:
            self._release(self._in_order.popleft(), None)

    def _release(self, row: RowWork, entry: Entry | None) -> None:
        """Close a row's state with what was decided about it."""
        decision = self._decision(row, None if entry is None else entry.result)
        work, now = self._work, self._work.now()
        unit = row.pending
        assert row.state is not None  # noqa: S101 - every row was opened
        settled = settle(work, unit, token=row.token, state_id=row.state_id, decision=decision, now=now)
        final = closed(
            "node_states",
            row.state,
            status=settled.status.value,
            out_port=settled.out_port,
            output_hash=settled.output_hash,
            error_json=settled.error_json,
            context_after_json=None if entry is None else self._context(entry),
            duration_ms=0.0 if entry is None else _duration_ms(entry),
            completed_at=now,
        )
        if row.is_state_stored:
            unit.close("node_states", final)
        else:
            unit.inserts["node_states"] = [final]
        work.tally.rows_in += 1
        work.tally.rows_reused += entry is None and row.reused > 0
        if entry is not None:
            work.tally.buffer_wait_ms.add(entry.buffer_wait_ms)
        work.submit(unit)
        work.judge_errors(self._config.max_error_rate)

    def _decision(self, row: RowWork, result: RowResult[RowWork] | None) -> Decision:
        rejected = result if isinstance(result, Rejected) else row.rejected
        if rejected is not None:
            self._refuse_unreachable(row, rejected)
            return rejected
        assert row.answer is not None  # noqa: S101 - neither answer nor error cannot be
        return self._question.conclude(row.row, row.answer)

    def _refuse_unreachable(self, row: RowWork, rejected: Rejected) -> None:
        """Nobody answers at the model's address, after all retries: no other row will fare better."""
        if rejected.facts.get("error_type") in UNREACHABLE_ERROR_TYPES:
            self._in_order.appendleft(row)  # it is not this row's failure: its state closes as interrupted
            raise NodeStoppedError(
                f"The model cannot be reached: {rejected.message or rejected.facts.get('error_type')}",
                code="model_unreachable",
                where=f"step {self._work.node.node_id!r}, {self._question.settings.base_url or 'default address'}",
                hint="start the server or mend base_url, then resume: no row was lost",
            )

    def _context(self, entry: Entry) -> str:
        pool: dict[str, JSON] = {
            "submit_index": entry.submit_index,
            "complete_index": entry.complete_index,
            "buffer_wait_ms": round(entry.buffer_wait_ms, 3),
            "submit_offset_ms": round((entry.submit_timestamp - self._began_s) * 1000, 3),
            "complete_offset_ms": round((entry.complete_timestamp - self._began_s) * 1000, 3),
        }
        return canonical_bytes({"pool": pool}).decode()

    def _interrupt(self) -> None:
        """Close the states of rows that were begun and not decided: their tokens wait for the next execution."""
        unit, now = Unit(), self._work.now()
        for row in self._in_order:
            if row.is_state_stored and row.state is not None:
                unit.close(
                    "node_states",
                    closed("node_states", row.state, status=StateStatus.INTERRUPTED.value, completed_at=now),
                )
        if not len(unit):
            return
        # If the database is why the node stops, the next execution closes what is open.
        with contextlib.suppress(ElspethError):
            self._work.writer.write(self._work.handle, unit)


def _duration_ms(entry: Entry) -> float:
    """From the first dispatch to the end of the last call."""
    began = entry.submit_timestamp if entry.dispatch_timestamp is None else entry.dispatch_timestamp
    return round(max(0.0, entry.complete_timestamp - began) * 1000, 3)
