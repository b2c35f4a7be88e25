"""Rows on their way through an llm node, and the queries that each of them makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from elspeth_dagster.landscape.records import Record, Unit
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.llm_question import Asked, Query


@dataclass(slots=True, eq=False)
class Fate:
    """What rows share that are kept or lost together, as those of a batch. It is only ever set, in any thread."""

    is_lost: bool = False


@dataclass(slots=True, eq=False)
class RowWork:
    """One row. ``state`` is its open record; ``pending`` holds what must be stored with its first call, or its end.

    ``to_ask`` are the queries that went into the pool; ``call_count`` numbers the calls of all queries. From then on
    everything belongs to the pool's loop until the row is released.
    """

    token: Token
    row: Row
    state_id: str
    attempt: int
    state: Record
    pending: Unit
    queries: list[QueryWork] = field(default_factory=list)
    to_ask: list[QueryWork] = field(default_factory=list)
    call_count: int = 0
    is_state_stored: bool = False
    reused: int = 0
    fate: Fate | None = None

    def unanswered(self) -> list[QueryWork]:
        """The queries that the model is still to be asked."""
        if self.is_lost or any(query.rejected is not None for query in self.queries):
            return []  # all or nothing: what is lost already is not paid for
        return [query for query in self.queries if query.answer is None]

    @property
    def is_lost(self) -> bool:
        """Whether a row that it is kept or lost with has failed."""
        return self.fate is not None and self.fate.is_lost

    def failures(self) -> Mapping[str, Rejected]:
        """The queries that failed, and why."""
        return {work.query.name: work.rejected for work in self.queries if work.rejected is not None}

    def answers(self) -> Mapping[str, Row]:
        """The valid answers, by query."""
        return {work.query.name: work.answer for work in self.queries if work.answer is not None}


@dataclass(slots=True, eq=False)
class QueryWork:
    """One query of a row. ``try_no`` is the try that is under way, counted by answers, valid or not."""

    row: RowWork
    query: Query
    asked: Asked | None = None
    answer: Row | None = None
    rejected: Rejected | None = None
    try_no: int = 1

    def reject(self, why: Rejected) -> None:
        """Give it up, and with it every row that is lost with its row."""
        self.rejected = why
        if self.row.fate is not None:
            self.row.fate.is_lost = True
