"""Gathers a row's calls, which share the pool with all others', back into the row; rows leave as they were accepted.

Calls leave the batch's reorder buffer in the order of submission, and a row's calls are submitted together: so the row
that was accepted first is whole before the next one is, and nothing needs to be sorted twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.result import RowResult
from elspeth_dagster.pooling.batch import Batch, Entry, Job
from elspeth_dagster.pooling.reorder import BufferEntry
from elspeth_dagster.pooling.rows import RowContext

K = TypeVar("K")
C = TypeVar("C")
T = TypeVar("T")

_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class RowEntries(Generic[K, C, T]):
    """What became of one row: an entry for the row, and one for each of its calls in the order of ``split``.

    ``row`` is None for a row that made no call. Its indices count the rows that made calls, from 0 in each transform;
    those of ``calls`` count calls. It runs from the row's acceptance and the first dispatch of its calls to the end of
    the last; its ``buffer_wait_ms`` is how long the whole row waited for earlier ones.
    """

    token: K
    ctx: C
    row: BufferEntry[tuple[RowResult[T], ...]] | None
    calls: tuple[BufferEntry[RowResult[T]], ...]

    @property
    def results(self) -> tuple[RowResult[T], ...]:
        """The results of the row's calls."""
        return tuple(call.result for call in self.calls)


Gathered = RowEntries[object, object, object]


@dataclass(eq=False, slots=True)
class _Row:
    """A row whose calls are on their way. ``left`` of them have not ended; one that is given up takes the row along."""

    token: object
    ctx: object
    index: int | None
    accepted_s: float
    left: int
    complete_index: int = -1
    is_given_up: bool = False
    entries: list[Entry] = field(default_factory=list)


class RowBatch(Batch):
    """A batch whose rows make any number of calls, none included.

    One thread at a time calls ``accept``; the rest belongs to the loop. ``emit`` is given each whole row, ``dropped``
    is called for each that was given up, both in the order of acceptance.
    """

    def __init__(
        self,
        process_fn: Callable[[object, str], object],
        *,
        clock: Clock,
        notify: Callable[[], None],
        emit: Callable[[Gathered], None],
        dropped: Callable[[], None],
    ) -> None:
        super().__init__(process_fn, clock=clock, notify=notify)
        self._clock = clock
        self._emit = emit
        self._dropped = dropped
        self._rows: deque[_Row] = deque()
        self._row_of: dict[int, _Row] = {}
        self._rows_called = 0
        self._rows_completed = 0

    @property
    def pending(self) -> int:
        """Zero once every row has left, with calls or without."""
        return len(self._rows)

    def accept(self, token: object, ctx: object, calls: Sequence[RowContext[object]]) -> None:
        """Take one row in with its calls; the dispatcher must be woken after it."""
        jobs = [self.job_of(call) for call in calls]
        row = _Row(token, ctx, self._rows_called if jobs else None, self._clock.monotonic(), len(jobs))
        self._rows_called += bool(jobs)
        for job in jobs:
            self._row_of[job.index] = row
        self._rows.append(row)
        self.enqueue(jobs)  # last: from here on the calls may end

    def ended(self, job: Job, *, is_given_up: bool) -> None:
        """One call less for its row to wait for."""
        row = self._row_of.pop(job.index) if is_given_up else self._row_of[job.index]
        row.left -= 1
        row.is_given_up |= is_given_up
        if row.left == 0 and not row.is_given_up:
            row.complete_index = self._rows_completed
            self._rows_completed += 1

    def release(self) -> None:
        """Hand on the whole rows at the head of the line. After the end nobody waits for a row any more."""
        for entry in self.buffer.get_ready_results():
            self._row_of.pop(entry.submit_index).entries.append(entry)
        while self._rows and self._rows[0].left == 0:
            row = self._rows.popleft()
            if row.is_given_up or self.settled:
                self._dropped()
            else:
                self._emit(self._gathered(row))

    def _gathered(self, row: _Row) -> Gathered:
        entry = None if row.index is None else self._entry_of(row, row.index)
        return RowEntries(row.token, row.ctx, entry, tuple(row.entries))

    def _entry_of(self, row: _Row, index: int) -> BufferEntry[tuple[RowResult[object], ...]]:
        ended_s = max(call.complete_timestamp for call in row.entries)
        sent_s = [call.dispatch_timestamp for call in row.entries if call.dispatch_timestamp is not None]
        return BufferEntry(
            submit_index=index,
            complete_index=row.complete_index,
            submit_timestamp=row.accepted_s,
            complete_timestamp=ended_s,
            buffer_wait_ms=max(0.0, (self._clock.monotonic() - ended_s) * _MS_PER_S),
            result=tuple(call.result for call in row.entries),
            dispatch_timestamp=min(sent_s, default=None),
        )
