"""Cut an ordered stream of rows into batches: pure, so that the same stream is always cut alike.

Time is the stream's own: each row comes with the moment at which it left the node before, and that moment is the only
clock. A timeout is judged at every arrival, for every open batch, before the arriving row is taken in; count and
condition after it.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from elspeth_dagster import expressions
from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import BatchTrigger
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row

M = TypeVar("M")

BATCH_COUNT: Final = "batch_count"
BATCH_AGE: Final = "batch_age_seconds"

STALE_DEADLINES_MAX: Final = 1_000
"""Deadlines of batches that fired otherwise, beside those that count: looking for them at every batch costs more."""


@dataclass(frozen=True, slots=True)
class Triggers:
    """What makes a batch fire; at least one is set. ``condition`` sees the arriving row, itself counted."""

    count: int | None = None
    timeout: dt.timedelta | None = None
    condition: expressions.Expression | None = None


@dataclass(frozen=True, slots=True)
class Cut(Generic[M]):
    """One batch: the ``index``-th that fired. ``key`` is its group's; ``age_seconds`` its age when it fired."""

    index: int
    key: Row
    members: Sequence[M]
    trigger: BatchTrigger
    age_seconds: float


@dataclass(slots=True)
class Arrived(Generic[M]):
    """What one arrival brought about: batches that fired, in order; why the row itself was not taken in, if it was not;
    the ``size`` of the batch that it joined.
    """

    cuts: list[Cut[M]] = field(default_factory=list)
    refused: Rejected | None = None
    size: int = 0


@dataclass(slots=True, eq=False)
class _Open(Generic[M]):
    """A batch that fills. ``began_at`` is its first member's moment; None where rows have none."""

    key: Row
    number: int
    began_at: dt.datetime | None
    last_at: dt.datetime | None
    members: list[M] = field(default_factory=list)

    def age_at(self, moment: dt.datetime | None) -> float:
        """Seconds, to the microsecond. Rows may come in another order than they were completed: no age is negative."""
        if self.began_at is None or moment is None:
            return 0.0
        return max(0.0, (moment - self.began_at).total_seconds())


class Cutter(Generic[M]):
    """Cuts batches of whatever stands for a row. Holds the members of the open batches, one batch for each group."""

    def __init__(self, triggers: Triggers, group_by: Sequence[str] = ()) -> None:
        self._triggers = triggers
        self._group_by = tuple(group_by)
        self._open: dict[bytes, _Open[M]] = {}
        self._deadlines: list[tuple[dt.datetime, int, bytes]] = []  # some of batches that fired meanwhile
        self._opened = 0
        self._fired = 0

    def arrive(self, member: M, row: Row, at: dt.datetime | None) -> Arrived[M]:
        """Take one row in. ``at`` is when it left the node before; None for rows that have no such moment."""
        arrived = Arrived(self.expire(at))
        key, missing = self._key(row)
        if missing is not None:
            message = f"The row has no field {missing!r} to group by."
            arrived.refused = Rejected("missing_field", message, facts={"field": missing})
            return arrived
        place = canonical_bytes(key)
        batch = self._open.get(place)
        try:
            trigger = self._fires(batch, row, at)
        except ExpressionError as error:
            arrived.refused = Rejected("expression_failed", error.what, facts={"key": "trigger.condition"})
            return arrived
        if batch is None:
            batch = self._begin(place, key, at)
        batch.members.append(member)
        batch.last_at = at
        arrived.size = len(batch.members)
        if trigger is not None:
            arrived.cuts.append(self._fire(place, trigger, at))
        return arrived

    def end(self) -> list[Cut[M]]:
        """The end of the input: whatever is open fires, in the order in which it was begun."""
        return [
            self._fire(place, BatchTrigger.END_OF_SOURCE, batch.last_at)
            for place, batch in list(self._open.items())
        ]

    def expire(self, at: dt.datetime | None) -> list[Cut[M]]:
        """The batches whose timeout is over by ``at``, though no row is taken in; the first due comes first."""
        cuts: list[Cut[M]] = []
        while at is not None and self._deadlines and self._deadlines[0][0] <= at:
            _, number, place = heapq.heappop(self._deadlines)
            batch = self._open.get(place)
            if batch is not None and batch.number == number:
                cuts.append(self._fire(place, BatchTrigger.TIMEOUT, at))
        return cuts

    def _key(self, row: Row) -> tuple[Row, str | None]:
        """The row's group; and the first field of it that is missing."""
        missing = next((name for name in self._group_by if name not in row), None)
        return ({} if missing else {name: row[name] for name in self._group_by}), missing

    def _fires(self, batch: _Open[M] | None, row: Row, at: dt.datetime | None) -> BatchTrigger | None:
        """What fires once ``row`` is in; count before condition, where both do."""
        count = 1 if batch is None else len(batch.members) + 1
        age_seconds = 0.0 if batch is None else batch.age_at(at)
        condition, fires = self._triggers.condition, None
        names: dict[str, JSON] = {BATCH_COUNT: count, BATCH_AGE: age_seconds}
        if condition is not None and condition.truth(row, **names):
            fires = BatchTrigger.CONDITION
        return BatchTrigger.COUNT if count == self._triggers.count else fires

    def _begin(self, place: bytes, key: Row, at: dt.datetime | None) -> _Open[M]:
        batch: _Open[M] = _Open(key, self._opened, at, at)
        self._opened += 1
        self._open[place] = batch
        timeout = self._triggers.timeout
        if timeout is not None and at is not None:
            heapq.heappush(self._deadlines, (at + timeout, batch.number, place))
            if len(self._deadlines) > 2 * len(self._open) + STALE_DEADLINES_MAX:
                self._forget_stale()
        return batch

    def _forget_stale(self) -> None:
        alive = {(batch.number, place) for place, batch in self._open.items()}
        self._deadlines = [one for one in self._deadlines if one[1:] in alive]
        heapq.heapify(self._deadlines)

    def _fire(self, place: bytes, trigger: BatchTrigger, at: dt.datetime | None) -> Cut[M]:
        batch = self._open.pop(place)
        cut = Cut(self._fired, batch.key, tuple(batch.members), trigger, batch.age_at(at))
        self._fired += 1
        return cut
