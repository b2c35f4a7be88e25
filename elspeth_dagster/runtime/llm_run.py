"""Run an llm node: rows overlap in the pool, and leave it in the order they came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.earlier import earlier_answers
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.nodes.base import Decision
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.llm_question import failed_queries
from elspeth_dagster.runtime.asking_pool import AskingPool, Entries, asked_span_s, asking_pool
from elspeth_dagster.runtime.llm_rows import RowWork
from elspeth_dagster.runtime.recording import settle
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages


def run_llm(work: Work, config: LlmConfig) -> None:
    """Ask the model about every waiting token; the pool's stats end up in ``work.pool_stats``, whatever happens.

    Raises:
        MissingSecretError: the model's key is not set.
        NodeStoppedError: too many rows failed, the model cannot be used, or the run is to end.
    """
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    with asking_pool(work, config) as pool:
        _Node(work, config, pool).run()


class _Node:
    """The rows of a node. Everything here runs in the caller's thread."""

    def __init__(self, work: Work, config: LlmConfig, pool: AskingPool) -> None:
        self._work = work
        self._config = config
        self._pool = pool
        self._begun: dict[str, RowWork] = {}  # not released yet, by state

    def run(self) -> None:
        self._pool.run(self._rows(), release=self._release, interrupt=self._interrupt)

    def _rows(self) -> Iterator[tuple[str, RowWork]]:
        """Every waiting row in order; pulled by the pool as it has room."""
        node_id, database = self._work.node.node_id, self._work.database
        for page in pages(self._work.tokens(), PAGE_TOKENS):
            token_ids = [token.token_id for token in page]
            attempts = self._work.attempts(token_ids)
            earlier = earlier_answers(database, node_id, token_ids) if attempts else {}
            for token in page:
                row = self._pool.journal.open(
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
        decision = self._decision(entries)
        del self._begun[row.state_id]
        unit, context, span_s = row.pending, self._pool.context(entries), asked_span_s(entries)
        settled = settle(work, unit, token=row.token, state_id=row.state_id, decision=decision, now=now)
        final = closed(
            "node_states",
            row.state,
            status=settled.status.value,
            out_port=settled.out_port,
            output_hash=settled.output_hash,
            error_json=settled.error_json,
            context_after_json=canonical_bytes(context).decode() if context else None,
            duration_ms=0.0 if span_s is None else round(max(0.0, span_s[1] - span_s[0]) * 1000, 3),
            completed_at=now,
        )
        if row.is_state_stored:
            unit.close("node_states", final)
        else:
            unit.inserts["node_states"] = [final]
        work.tally.rows_in += 1
        self._pool.count(entries)
        work.submit(unit)
        work.judge_errors(self._config.max_error_rate)

    def _decision(self, entries: Entries) -> Decision:
        row, failures = entries.ctx, self._pool.failures(entries)
        if failures:
            return failed_queries(failures, query_count=len(row.queries))
        return self._pool.question.conclude(row.row, row.answers())

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
