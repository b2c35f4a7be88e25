"""Run an aggregate that asks a model: about each member of a batch, or about the batch as a whole.

Every call belongs to a state that is durable before the call leaves: when a batch fires, each of its members gets its
open state; and where one prompt sees them all, so does the row that the answer will become, with all members as its
parents. Batches overlap in the pool, and end in the order in which they fired.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.earlier import earlier_answers
from elspeth_dagster.landscape.records import Unit, closed
from elspeth_dagster.landscape.waiting import PAGE_TOKENS
from elspeth_dagster.model.outcome import StateStatus
from elspeth_dagster.model.result import Rejected, Succeeded
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.batch_llm import LlmRunConfig, batch_row
from elspeth_dagster.nodes.batch_run import BatchResult
from elspeth_dagster.nodes.llm_question import failed_queries
from elspeth_dagster.runtime.asking_pool import AskingPool, Entries, asked_span_s, asking_pool
from elspeth_dagster.runtime.batch_end import settle_batch
from elspeth_dagster.runtime.batch_feed import BatchFeed
from elspeth_dagster.runtime.batch_states import open_members, open_output
from elspeth_dagster.runtime.batches import Batch
from elspeth_dagster.runtime.llm_rows import Fate, RowWork
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work

MEMBERS_NAMED_MAX = 20
"""Failed members that a batch's error names; each has its own error at its state."""

NOT_ASKED = "not_asked"
"""Of a member whose batch was lost before its turn: no failure of its own."""


def run_aggregate_llm(work: Work, config: AggregateConfig, run: LlmRunConfig) -> None:
    """Ask the model about every batch; the pool's stats end up in ``work.pool_stats``, whatever happens.

    Raises:
        MissingSecretError: the model's key is not set.
        NodeStoppedError: too many rows failed, a batch is too large, the model cannot be used, or the run is to end.
    """
    with asking_pool(work, run) as pool:
        _Batches(work, config, run, pool).run()


@dataclass(slots=True, eq=False)
class _Asked:
    """A batch that is asked about. ``left`` of its rows are not released; ``spans_s`` are those that made calls."""

    batch: Batch
    left: int
    fate: Fate = field(default_factory=Fate)
    rows: list[RowWork] = field(default_factory=list)
    failed: dict[str, Rejected] = field(default_factory=dict)
    spans_s: list[tuple[float, float]] = field(default_factory=list)

    @property
    def duration_ms(self) -> float:
        """From the first dispatch to the end of the last call."""
        if not self.spans_s:
            return 0.0
        return max(0.0, max(end for _, end in self.spans_s) - min(start for start, _ in self.spans_s)) * 1000


class _Batches:
    """The batches of a node. Everything here runs in the caller's thread."""

    def __init__(self, work: Work, config: AggregateConfig, run: LlmRunConfig, pool: AskingPool) -> None:
        self._work = work
        self._config = config
        self._run = run
        self._pool = pool
        self._open: dict[str, _Asked] = {}  # fired and not ended, by id
        self._asked_by: dict[
            str, _Asked
        ] = {}  # not released yet, by state: a pool that stops gives some rows up

    def run(self) -> None:
        self._pool.run(self._rows(), release=self._release, interrupt=self._interrupt)

    def _rows(self) -> Iterator[tuple[str, RowWork]]:
        """What is asked about, pulled by the pool as it has room: the members of each batch, or the batch."""
        for batch in BatchFeed(
            self._work, self._config, _admit, submit=self._work.submit, prepare=self._prepare
        ).batches():
            asked = _Asked(batch, left=1 if batch.output is not None else len(batch.members))
            self._open[batch.batch_id] = asked
            if batch.output is not None:
                row = batch_row([row_of(token) for token in batch.members], batch.key)
                yield from self._asked_rows(asked, [batch.output], row)
            else:
                yield from self._asked_rows(asked, batch.members, None)

    def _prepare(self, batch: Batch, unit: Unit) -> None:
        open_members(self._work, batch, unit)
        if not self._run.is_per_member:
            open_output(self._work, batch, unit)

    def _asked_rows(
        self, asked: _Asked, tokens: Sequence[Token], whole: Row | None
    ) -> Iterator[tuple[str, RowWork]]:
        """``whole`` is the row to ask about, where it is not the token's."""
        batch, node_id = asked.batch, self._work.node.node_id
        for start in range(0, len(tokens), PAGE_TOKENS):
            page = tokens[start : start + PAGE_TOKENS]
            known = [token.token_id for token in page if batch.attempt(token) > 1]
            earlier = earlier_answers(self._work.database, node_id, known) if known else {}
            for token in page:
                row = self._pool.journal.open(
                    token,
                    row_of(token) if whole is None else whole,
                    attempt=batch.attempt(token),
                    earlier=earlier.get(token.token_id, []),
                    stored=batch.states[token.token_id],
                    fate=asked.fate,
                )
                asked.rows.append(row)
                self._asked_by[row.state_id] = asked
                yield token.token_id, row

    def _release(self, entries: Entries) -> None:
        """One row's answers are there, or not; the last one ends its batch."""
        row = entries.ctx
        asked = self._asked_by.pop(row.state_id)
        failures = {
            name: why for name, why in self._pool.failures(entries).items() if why.reason != NOT_ASKED
        }
        if failures:
            asked.fate.is_lost = True
            asked.failed[row.token.token_id] = failed_queries(failures, query_count=len(row.queries))
        asked.batch.contexts[row.token.token_id] = self._pool.context(entries)
        asked.batch.pending.absorb(row.pending)
        if (span_s := asked_span_s(entries)) is not None:
            asked.spans_s.append(span_s)
        self._pool.count(entries)
        asked.left -= 1
        if asked.left == 0:
            self._end(asked)

    def _end(self, asked: _Asked) -> None:
        del self._open[asked.batch.batch_id]
        result = self._result(asked)
        unit = settle_batch(
            self._work, self._config, asked.batch, result, duration_ms=asked.duration_ms, own=asked.failed
        )
        self._work.submit(unit)
        self._work.judge_errors(self._config.max_error_rate)

    def _result(self, asked: _Asked) -> BatchResult:
        """The rows that the answers make; or why there are none."""
        rows: list[Row] = []
        for row in asked.rows if not asked.failed else ():
            concluded = self._pool.question.conclude(row.row, row.answers())
            if isinstance(concluded, Rejected):
                asked.failed[row.token.token_id] = concluded
            else:
                rows.append(concluded.row)
        if not asked.failed:
            return Succeeded(rows)
        output = asked.batch.output
        return _members_failed(asked) if output is None else asked.failed[output.token_id]

    def _interrupt(self) -> None:
        """Close the states of batches that were not decided: their members wait for the next execution."""
        unit, now = Unit(), self._work.now()
        for asked in self._open.values():
            for state in asked.batch.states.values():
                interrupted = closed(
                    "node_states", state, status=StateStatus.INTERRUPTED.value, completed_at=now
                )
                unit.close("node_states", interrupted)
        if not len(unit):
            return
        # If the database is why the node stops, the next execution closes what is open.
        with contextlib.suppress(ElspethError):
            self._work.writer.write(self._work.handle, unit)


def _admit(_row: Row) -> Rejected | None:
    """Every row may be asked about."""
    return None


def _members_failed(asked: _Asked) -> Rejected:
    """Why the members that did not fail themselves fail."""
    members, failed = asked.batch.members, asked.failed
    codes: list[JSON] = [
        {"ordinal": ordinal, "code": failed[token.token_id].reason}
        for ordinal, token in enumerate(members)
        if token.token_id in failed
    ]
    return Rejected(
        "member_failed",
        f"{len(failed)} of the batch's {len(members)} rows failed: a batch is all or nothing.",
        facts={"failed": len(failed), "members": codes[:MEMBERS_NAMED_MAX]},
    )
