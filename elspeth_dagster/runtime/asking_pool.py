"""A pool that asks a model about rows: whoever has rows gives them in order, and gets them back whole and in order.

A row that needs no call (its answers are recorded already, or its prompt failed) does not pass the pool's gate, and
keeps its place in the order all the same. What a row's answers lead to is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.llm import UNREACHABLE_ERROR_TYPES, ModelClient
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.llm_question import LlmQuestion
from elspeth_dagster.pooling import PooledExecutor, PooledTransform, RowContext, RowEntries
from elspeth_dagster.runtime.budget import Budget
from elspeth_dagster.runtime.calls import CallJournal
from elspeth_dagster.runtime.llm_rows import QueryWork, RowWork
from elspeth_dagster.runtime.pool_place import place_in_pool, span_s
from elspeth_dagster.runtime.reuse import Reuse
from elspeth_dagster.runtime.shared_pool import sharing
from elspeth_dagster.runtime.work import Work

Entries = RowEntries[str, RowWork, None]


@contextmanager
def asking_pool(work: Work, config: LlmConfig) -> Iterator[AskingPool]:
    """A pool for one execution of a node; its stats end up in ``work.pool_stats``, whatever happens.

    Raises:
        MissingSecretError: the model's key is not set.
    """
    model = work.model_of(config.model)
    question = config.compile(work.pipeline.home, model.settings)
    with PooledExecutor(config.pool, clock=work.clock) as pool:
        client = ModelClient(model.settings, api_key=model.api_key, pool_size=config.pool.pool_size)
        pool.on_close(client.aclose)
        journal = CallJournal(
            work,
            question,
            client,
            answer_attempts=config.answer_attempts,
            budget=Budget(work, config),
            reuse=Reuse(work, model.settings, is_on=config.reuse),
        )
        with sharing(work, pool, config.pool, model.settings), work.stop.telling(pool.stop):
            yield AskingPool(work, pool, question, journal)


class AskingPool:
    """The rows between the Landscape and the pool. Everything here runs in the caller's thread."""

    def __init__(self, work: Work, pool: PooledExecutor, question: LlmQuestion, journal: CallJournal) -> None:
        self.question = question
        self.journal = journal
        self._work = work
        self._pool = pool
        self._began_s = work.clock.monotonic()

    def run(
        self,
        rows: Iterator[tuple[str, RowWork]],
        *,
        release: Callable[[Entries], None],
        interrupt: Callable[[], None],
    ) -> None:
        """Pull ``rows`` as there is room, and ``release`` each in its turn; ``interrupt`` if that stops in the middle.

        Raises:
            NodeStoppedError: the model cannot be used, the run is to end, or ``release`` says so.
        """
        transform = PooledTransform(self._pool, _calls_of, self.journal.ask)
        window_rows = max(2, self._pool.window_rows // len(self.question.queries))
        try:
            for entries in transform.run(rows, max_pending=window_rows):
                release(entries)
            self._work.flush()
        except BaseException as error:
            self._pool.close()  # what is in flight ends, and its answers are recorded, before the states are closed
            interrupt()
            if isinstance(error, NodeStoppedError):
                self._work.check_stop()  # a pool that was stopped does not know why
            raise
        finally:
            self._work.pool_stats = cast("Mapping[str, JSON]", self._pool.get_stats())

    def failures(self, entries: Entries) -> dict[str, Rejected]:
        """The queries of a row that failed, and why: all tries of each are over.

        Raises:
            NodeStoppedError: nobody answers at the model's address.
        """
        row = entries.ctx
        failures = dict(row.failures())
        for one, call in zip(row.to_ask, entries.calls, strict=True):
            if isinstance(call.result, Rejected):
                self._refuse_unreachable(call.result)
                failures.setdefault(one.query.name, call.result)
        return failures

    def _refuse_unreachable(self, rejected: Rejected) -> None:
        """Nobody answers at the model's address, after all retries: no row will fare better, so none is failed."""
        facts = rejected.facts
        if facts.get("error_type") in UNREACHABLE_ERROR_TYPES:
            raise NodeStoppedError(
                f"The model cannot be reached: {facts.get('error_type')}, {facts.get('attempts')} times.",
                code="model_unreachable",
                where=f"step {self._work.node.node_id!r}, model at {self.question.settings.address}",
                hint="start the server or mend base_url, then resume: no row was lost",
            )

    def context(self, entries: Entries) -> dict[str, JSON]:
        """The evidence of the order: the row's place before and after, and each query's. Nothing without a call."""
        if entries.row is None:
            return {}
        context: dict[str, JSON] = {"pool": place_in_pool(entries.row, began_s=self._began_s)}
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
        return context

    def count(self, entries: Entries) -> None:
        """Count a released row: what waited for the rows before it, and what was paid for already."""
        tally = self._work.tally
        tally.rows_reused += entries.row is None and entries.ctx.reused > 0
        if entries.row is not None:
            tally.buffer_wait_ms.add(entries.row.buffer_wait_ms)


def _calls_of(_token_id: str, row: RowWork) -> Sequence[RowContext[QueryWork]]:
    """One call for each query that is not answered yet."""
    row.to_ask = row.unanswered()
    return [RowContext(one, row.state_id, index) for index, one in enumerate(row.to_ask)]


def asked_span_s(entries: Entries) -> tuple[float, float] | None:
    """From a row's first dispatch to the end of its last call, in monotonic seconds; None if it made no call."""
    return None if entries.row is None else span_s(entries.row)
