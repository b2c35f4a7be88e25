"""Run an llm node: rows overlap in the pool, and leave it in the order they came.

A row that needs no call (its answers are recorded already, or its prompt failed) does not pass the pool's gate, and
keeps its place in the order all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from elspeth_dagster.errors import ElspethError, NodeStoppedError
from elspeth_dagster.landscape.earlier import earlier_answers
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.llm import UNREACHABLE_ERROR_TYPES, ModelClient
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Decision
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.llm_question import LlmQuestion, failed_queries
from elspeth_dagster.pooling import PooledExecutor, PooledTransform, RowContext, RowEntries
from elspeth_dagster.runtime.calls import CallJournal
from elspeth_dagster.runtime.llm_rows import QueryWork, RowWork
from elspeth_dagster.runtime.recording import settle
from elspeth_dagster.runtime.shared_pool import sharing
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages

Entries = RowEntries[str, RowWork, None]

WINDOW_POOLS = 8
"""Calls of rows that are pulled and not released, in pools: one slow row may take eight times the usual."""


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
        with sharing(work, pool, config.pool, model.settings), work.stop.telling(pool.stop):
            _Node(work, config, question, journal).run(pool)


class _Node:
    """The rows between the Landscape and the pool. Everything here runs in the caller's thread."""

    def __init__(self, work: Work, config: LlmConfig, question: LlmQuestion, journal: CallJournal) -> None:
        self._work = work
        self._config = config
        self._question = question
        self._journal = journal
        self._begun: dict[str, RowWork] = {}  # not released yet, by state
        self._began_s = work.clock.monotonic()

    def run(self, pool: PooledExecutor) -> None:
        transform = PooledTransform(pool, _calls_of, self._journal.ask)
        queries = len(self._question.queries)
        window_rows = max(2, WINDOW_POOLS * self._config.pool.pool_size // queries)
        try:
            for entries in transform.run(self._rows(), max_pending=window_rows):
                self._release(entries)
            self._work.flush()
        except BaseException as error:
            pool.close()  # what is in flight ends, and its answers are recorded, before the states are closed
            self._interrupt()
            if isinstance(error, NodeStoppedError):
                self._work.check_stop()  # a pool that was stopped does not know why
            raise
        finally:
            self._work.pool_stats = cast("Mapping[str, JSON]", pool.get_stats())

    def _rows(self) -> Iterator[tuple[str, RowWork]]:
        """Every waiting row in order; pulled by the pool as it has room."""
        node_id, database = self._work.node.node_id, self._work.database
        for page in pages(self._work.tokens(), PAGE_TOKENS):
            token_ids = [token.token_id for token in page]
            attempts = self._work.attempts(token_ids)
            earlier = earlier_answers(database, node_id, token_ids) if attempts else {}
            for token in page:
                row = self._journal.open(
                    token,
                    row_of(token),
                    attempt=attempts.get(token.token_id, 0) + 1,
                    earlier=earlier.get(token.token_id, []),
                )
                self._begun[row.state_id] = row
                yield token.token_id, row

    def _release(self, entries: Entries) -> None:
        """Close a row's state with what was decided about it."""
        row, work, now = entries.ctx, self._work, self._work.now()
        decision = self._decision(row, entries)
        del self._begun[row.state_id]
        unit = row.pending
        settled = settle(work, unit, token=row.token, state_id=row.state_id, decision=decision, now=now)
        final = closed(
            "node_states",
            row.state,
            status=settled.status.value,
            out_port=settled.out_port,
            output_hash=settled.output_hash,
            error_json=settled.error_json,
            context_after_json=self._context(entries),
            duration_ms=_duration_ms(entries),
            completed_at=now,
        )
        if row.is_state_stored:
            unit.close("node_states", final)
        else:
            unit.inserts["node_states"] = [final]
        work.tally.rows_in += 1
        work.tally.rows_reused += entries.row is None and row.reused > 0
        if entries.row is not None:
            work.tally.buffer_wait_ms.add(entries.row.buffer_wait_ms)
        work.submit(unit)
        work.judge_errors(self._config.max_error_rate)

    def _decision(self, row: RowWork, entries: Entries) -> Decision:
        failures = dict(row.failures())
        for one, call in zip(row.to_ask, entries.calls, strict=True):
            if isinstance(call.result, Rejected):
                self._refuse_unreachable(call.result)
                failures.setdefault(one.query.name, call.result)
        if failures:
            return failed_queries(failures, query_count=len(row.queries))
        return self._question.conclude(row.row, row.answers())

    def _refuse_unreachable(self, rejected: Rejected) -> None:
        """Nobody answers at the model's address, after all retries: no row will fare better, so none is failed."""
        facts = rejected.facts
        if facts.get("error_type") in UNREACHABLE_ERROR_TYPES:
            raise NodeStoppedError(
                f"The model cannot be reached: {facts.get('error_type')}, {facts.get('attempts')} times.",
                code="model_unreachable",
                where=f"step {self._work.node.node_id!r}, model at {self._question.settings.address}",
                hint="start the server or mend base_url, then resume: no row was lost",
            )

    def _context(self, entries: Entries) -> str | None:
        """The evidence of the order: the row's place before and after, and each query's."""
        if entries.row is None:
            return None
        entry = entries.row
        context: dict[str, JSON] = {
            "pool": {
                "submit_index": entry.submit_index,
                "complete_index": entry.complete_index,
                "buffer_wait_ms": round(entry.buffer_wait_ms, 3),
                "submit_offset_ms": self._offset_ms(entry.submit_timestamp),
                "complete_offset_ms": self._offset_ms(entry.complete_timestamp),
            }
        }
        if len(entries.ctx.queries) > 1:
            context["query_ordering"] = [
                {
                    "query": one.query.name,
                    "submit_index": call.submit_index,
                    "complete_index": call.complete_index,
                    "buffer_wait_ms": round(call.buffer_wait_ms, 3),
                }
                for one, call in zip(entries.ctx.to_ask, entries.calls, strict=True)
            ]
        return canonical_bytes(context).decode()

    def _offset_ms(self, moment_s: float) -> float:
        return round((moment_s - self._began_s) * 1000, 3)

    def _interrupt(self) -> None:
        """Close the states of rows that were begun and not decided: their tokens wait for the next execution."""
        unit, now = Unit(), self._work.now()
        for row in self._begun.values():
            if row.is_state_stored:
                unit.close(
                    "node_states",
                    closed("node_states", row.state, status=StateStatus.INTERRUPTED.value, completed_at=now),
                )
        if not len(unit):
            return
        # If the database is why the node stops, the next execution closes what is open.
        with contextlib.suppress(ElspethError):
            self._work.writer.write(self._work.handle, unit)


def _calls_of(_token_id: str, row: RowWork) -> Sequence[RowContext[QueryWork]]:
    """One call for each query that is not answered yet."""
    row.to_ask = row.unanswered()
    return [RowContext(one, row.state_id, index) for index, one in enumerate(row.to_ask)]


def _duration_ms(entries: Entries) -> float:
    """From the first dispatch to the end of the last call."""
    if entries.row is None:
        return 0.0
    began_s = entries.row.dispatch_timestamp
    if began_s is None:
        began_s = entries.row.submit_timestamp
    return round(max(0.0, entries.row.complete_timestamp - began_s) * 1000, 3)
