"""The batches of a node's input, in the order in which they fire; and the rows that can be in none.

Every execution cuts the whole input, what is done with too: so a batch is the same batch, with the same index, on every
attempt, and one that was filling when the process died fills again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.earlier import finished_tokens
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.clock import new_salts
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.aggregate import MEMBERS_MAX, AggregateConfig
from elspeth_dagster.nodes.batching import Cut, Cutter
from elspeth_dagster.runtime.batches import Batch, fire
from elspeth_dagster.runtime.recording import final_state, settle_failure
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.work import Work, pages

OPEN_BYTES_MAX: Final = 512 * 1024 * 1024
"""Rows that wait in open batches, all groups together: they are in memory."""

SALTS_AT_ONCE: Final = 256
"""Asking the system's generator lets go of the interpreter, and waits for it as long as another thread likes."""

Admit = Callable[[Row], Rejected | None]

Submit = Callable[[Unit], None]
"""Hands a unit on to be written, in order."""

Prepare = Callable[[Batch, Unit], None]
"""Adds to the unit of a firing batch what must be durable with it."""


class BatchFeed:
    """Reads a node's input once. ``admit`` says which rows can be in no batch: these fail alone."""

    def __init__(
        self,
        work: Work,
        config: AggregateConfig,
        admit: Admit,
        *,
        submit: Submit,
        prepare: Prepare | None = None,
    ) -> None:
        self._work = work
        self._config = config
        self._admit = admit
        self._submit = submit
        self._prepare = prepare
        self._cutter: Cutter[Token] = Cutter(config.triggers(), config.group_by)
        self._open_bytes = 0
        self._salts: list[bytes] = []

    def batches(self) -> Iterator[Batch]:
        """Every batch that is not done with, each recorded as fired, though maybe not durable yet.

        Raises:
            NodeStoppedError: a batch grows beyond any bound, too many rows failed, or the run is to end.
        """
        work = self._work
        work.handle.rows_total = count_waiting(work.database, work.waiting(include_done=True))
        for page in pages(work.tokens(include_done=True), PAGE_TOKENS):
            done = self._done(page)
            for token in page:
                yield from self._arrive(token, done)
        yield from self._fired(self._cutter.end())

    def _done(self, page: list[Token]) -> frozenset[str]:
        work = self._work
        if work.handle.attempt == 1:
            return frozenset()
        return finished_tokens(work.database, work.node.node_id, [token.token_id for token in page])

    def _arrive(self, token: Token, done: frozenset[str]) -> Iterator[Batch]:
        row = row_of(token)
        at = None if token.completed_at is None else dt.datetime.fromisoformat(token.completed_at)
        refused = self._admit(row)
        if refused is not None:
            cuts = self._cutter.expire(at)
        else:
            arrived = self._cutter.arrive(token, row, at)
            cuts, refused = arrived.cuts, arrived.refused
            self._open_bytes += 0 if refused else len(token.body)
            self._bound(arrived.size)
        yield from self._fired(cuts)
        if refused is not None and token.token_id not in done:
            self._refuse(token, refused)
        elif token.token_id in done:
            self._work.handle.rows_done += 1

    def _bound(self, size: int) -> None:
        """What waits for a trigger waits in memory.

        Raises:
            NodeStoppedError: a batch, or all open ones together, are too large.
        """
        if size <= MEMBERS_MAX and self._open_bytes <= OPEN_BYTES_MAX:
            return
        what = (
            f"A batch has more than {MEMBERS_MAX:,} rows, and no trigger fired."
            if size > MEMBERS_MAX
            else f"The open batches hold more than {OPEN_BYTES_MAX // 2**20} MiB of rows."
        )
        raise NodeStoppedError(
            what,
            code="batch_too_large",
            where=f"step {self._work.node.node_id!r}",
            hint="give its trigger a `count`, or a smaller one, and start a new run: no row was lost",
        )

    def _fired(self, cuts: Iterable[Cut[Token]]) -> Iterator[Batch]:
        for cut in cuts:
            self._open_bytes -= sum(len(token.body) for token in cut.members)
            fired = fire(self._work, cut, fresh_salt=self._fresh_salt())
            if fired is None:
                continue
            batch, unit = fired
            if self._prepare is not None:
                self._prepare(batch, unit)
            self._submit(unit)
            yield batch

    def _fresh_salt(self) -> bytes:
        if not self._salts:
            self._salts = new_salts(SALTS_AT_ONCE)
        return self._salts.pop()

    def _refuse(self, token: Token, why: Rejected) -> None:
        """A row that can be in no batch fails by itself."""
        work, unit, now = self._work, Unit(), self._work.now()
        attempt = work.attempts([token.token_id]).get(token.token_id, 0) + 1
        settled = settle_failure(work, unit, token, why, now)
        unit.insert(
            "node_states",
            final_state(
                work,
                token,
                ids.state_id(token.token_id, work.node.node_id, attempt),
                attempt,
                settled,
                context_json=None,
                duration_ms=0.0,
                started_at=now,
                completed_at=now,
            ),
        )
        work.tally.rows_in += 1
        self._submit(unit)
        work.judge_errors(self._config.max_error_rate)
