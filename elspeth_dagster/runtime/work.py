"""Everything that one execution of one node works with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.earlier import earlier_attempts
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import Feed, Waiting, waiting_tokens
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.clock import Clock, Timestamps
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.token import Token
from elspeth_dagster.pipeline.graph import SOURCE, Node, Pipeline, Port
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.scope import Scope
from elspeth_dagster.runtime.tally import Tally

RECORDS_AHEAD_MAX: Final = 6_000
"""Records that may wait for the writer, two pages' worth: it commits some while more are made; memory stays flat."""

JUDGED_ROWS_MIN: Final = 20
"""An error rate over fewer rows is chance."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be called: its settings, and the key that was read from the environment."""

    settings: ModelSettings
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """What a source has read. ``path`` is the file's, where it is one; ``sha256`` is over the content of its rows.

    ``uri`` is None for what was only handed over, as an asset's table is.
    """

    uri: str | None
    path: Path | None
    sha256: bytes


@dataclass(slots=True)
class Work:
    """One execution of ``node``, in a run of ``scope``. ``stop`` is set from outside when the run is to end."""

    pipeline: Pipeline
    node: Node
    database: Database
    writer: LandscapeWriter
    handle: ExecutionHandle
    clock: Clock
    stop: Stop
    scope: Scope
    model_of: Callable[[str], Model]
    limit: int | None = None
    redactor: Redactor = field(default_factory=Redactor)
    tally: Tally = field(default_factory=Tally)
    pool_stats: Mapping[str, JSON] | None = None
    read_from: ReadFrom | None = None
    _tickets: deque[tuple[Future[None], int]] = field(default_factory=deque)
    _records_ahead: int = 0
    _timestamps: Timestamps = field(default_factory=Timestamps)

    def now(self) -> str:
        """The time of day as the Landscape stores it."""
        return self._timestamps.of(self.clock.now())

    def feeds(self) -> tuple[Feed, ...]:
        """The ports that feed this node."""
        return tuple(self.feed(port) for port in self.node.inputs)

    def feed(self, port: Port) -> Feed:
        """A port as the Landscape asks for it. Source rows have no state, but adopted ones have."""
        return Feed(port.node_id, port.name, port.node_id == SOURCE and SOURCE in self.scope.selected)

    def waiting(self, *, include_done: bool = False) -> Waiting:
        """Who waits for this node. In its first execution none can be done yet, which saves looking."""
        is_first = self.handle.attempt == 1
        return Waiting(self.handle.run_id, self.node.node_id, self.feeds(), include_done or is_first)

    def tokens(self, *, include_done: bool = False, with_bodies: bool = True) -> Iterator[Token]:
        """The waiting tokens in order."""
        return waiting_tokens(self.database, self.waiting(include_done=include_done), with_bodies=with_bodies)

    def submit(self, unit: Unit) -> None:
        """Hand a unit to the writer; waits while too much is under way.

        Raises:
            LandscapeError: an earlier unit could not be written.
        """
        self._tickets.append((self.writer.submit(self.handle, unit), len(unit)))
        self._records_ahead += len(unit)
        while self._tickets and (self._records_ahead > RECORDS_AHEAD_MAX or self._tickets[0][0].done()):
            self._settle_oldest()

    def flush(self) -> None:
        """Wait until everything that was submitted is durable."""
        while self._tickets:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        ticket, records = self._tickets.popleft()
        self._records_ahead -= records
        ticket.result()

    def attempts(self, token_ids: Sequence[str]) -> dict[str, int]:
        """How often each token was at this node before; empty in a node's first execution."""
        if self.handle.attempt == 1:
            return {}
        return earlier_attempts(self.database, self.node.node_id, token_ids)

    def judge_errors(self, max_error_rate: float) -> None:
        """Stop the node when too many of its rows fail.

        Raises:
            NodeStoppedError: with ``error_rate_exceeded``.
        """
        self.judge(max_error_rate, self.tally.rows_failed, self.tally.rows_in)

    def judge(self, max_error_rate: float, failed: int, seen: int) -> None:
        """Stop the node when ``failed`` of the ``seen`` rows are too many.

        Raises:
            NodeStoppedError: with ``error_rate_exceeded``.
        """
        if seen >= JUDGED_ROWS_MIN and failed / seen > max_error_rate:
            code, count = self.tally.failures.most_common(1)[0]
            raise NodeStoppedError(
                f"{failed} of {seen} rows failed, most with {code!r} ({count}): more than max_error_rate allows "
                f"({max_error_rate:.0%}).",
                code="error_rate_exceeded",
                where=f"step {self.node.node_id!r}",
                hint="resume when the cause is gone or max_error_rate is raised; a changed step needs a new run",
            )

    def check_stop(self) -> None:
        """Raise if the run is to end.

        Raises:
            NodeStoppedError: with ``interrupted``.
        """
        if self.stop.is_set():
            raise NodeStoppedError(
                "The run was asked to stop.", code="interrupted", hint="resume it: the rest of the rows waits"
            )


def pages(tokens: Iterator[Token], page_tokens: int) -> Iterator[list[Token]]:
    """The tokens in lists of at most ``page_tokens``."""
    page: list[Token] = []
    for token in tokens:
        page.append(token)
        if len(page) == page_tokens:
            yield page
            page = []
    if page:
        yield page
