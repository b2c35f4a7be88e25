"""`Landscape.open(url)`: every question that the Landscape answers, each answer typed, frozen and bounded.

A façade: each method hands a question to the function that is named by it. Runs are named as people do, by the
beginning of a key or id.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from elspeth_dagster.landscape import batch_reads, call_story, explain, joins, lineage, pools, states
from elspeth_dagster.landscape.balances import BalanceReport, balance_report
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.failures import FailureGroup, failure_groups
from elspeth_dagster.landscape.lineage import Direction, Link
from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Page
from elspeth_dagster.landscape.purges import PurgeRecord, purges_of
from elspeth_dagster.landscape.reading import opened_landscape
from elspeth_dagster.landscape.runs import ListedRun, RunRecord, find_run, recent_runs
from elspeth_dagster.landscape.standing import RunStanding, runs_page
from elspeth_dagster.landscape.states import StateFilter, StateRecord
from elspeth_dagster.landscape.story import CallStory, Explanation
from elspeth_dagster.landscape.summary import RunSummary, run_summary
from elspeth_dagster.landscape.verify import VerifyReport, verify_run
from elspeth_dagster.landscape.visits import ValuesRead, nothing_read
from elspeth_dagster.model.clock import Clock, SystemClock
from elspeth_dagster.model.outcome import StateStatus


class Landscape:
    """An audit database, open to be read. Questions may be asked from several threads at once."""

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self.database = database
        self._clock = clock or SystemClock()

    @classmethod
    def open(cls, url: str) -> Landscape:
        """Open the Landscape at ``url``; nothing can be written through it. Close it, or use it in a ``with``.

        Raises:
            LandscapeError: there is none, it cannot be read, or it is of another version.
        """
        return cls(opened_landscape(url))

    def close(self) -> None:
        """Close every connection."""
        self.database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Runs ------------------------------------------------------------------------------------------------------------

    def runs(self, *, limit: int = PAGE_DEFAULT) -> tuple[ListedRun, ...]:
        """The latest runs, latest first, each with its latest attempt."""
        return recent_runs(self.database, runs_max=limit)

    def runs_page(self, *, after: str | None = None, limit: int = PAGE_DEFAULT) -> Page[RunStanding]:
        """All runs, latest first, each with its status, a page at a time."""
        return runs_page(self.database, now=self._clock.now(), after=after, limit=limit)

    def run(self, name: str) -> RunRecord:
        """The one run whose key or id begins with ``name``.

        Raises:
            LandscapeError: there is none, or there are several; so does every method that takes a run.
        """
        return find_run(self.database, name)

    def summary(self, run: str) -> RunSummary:
        """A run at a glance: attempts, nodes, endings, failures, pools, joins, batches, cost, files."""
        return run_summary(self.database, self.run(run), now=self._clock.now())

    def balance(self, run: str) -> BalanceReport:
        """Tokens created, ended and waiting, of the run and of each node."""
        return balance_report(self.database, self.run(run).run_id)

    def failures(self, run: str) -> tuple[FailureGroup, ...]:
        """What failed, by node and code, each with examples."""
        return failure_groups(self.database, self.run(run).run_id)

    def purges(self, run: str) -> tuple[PurgeRecord, ...]:
        """What was erased of the run, and when."""
        run_id = self.run(run).run_id
        with self.database.read() as connection:
            return purges_of(connection, run_id)

    def verify(self, run: str) -> VerifyReport:
        """Every completeness sweep and every hash: what does not hold, with table and key."""
        return verify_run(self.database, self.run(run), now=self._clock.now())

    # Rows and tokens --------------------------------------------------------------------------------------------------

    def explain_row(self, run: str, row_index: int, *, values_read: ValuesRead = nothing_read) -> Explanation:
        """The whole story of a source's row. ``values_read`` tells which values an expression saw."""
        return explain.explain_row(self.database, self.run(run), row_index, values_read=values_read)

    def explain_token(
        self, run: str, token_id: str, *, values_read: ValuesRead = nothing_read
    ) -> Explanation:
        """The whole story of one token, with the row that it came from."""
        return explain.explain_token(self.database, self.run(run), token_id, values_read=values_read)

    def lineage(self, token_id: str, direction: Direction = Direction.PARENTS) -> Iterator[Link]:
        """Every link to the token's ancestors or descendants, to any depth, in constant memory."""
        with self.database.read() as connection:
            yield from lineage.lineage(connection, token_id, direction)

    def lineage_page(
        self,
        token_id: str,
        direction: Direction = Direction.PARENTS,
        *,
        after: str | None = None,
        limit: int = PAGE_DEFAULT,
    ) -> Page[Link]:
        """The same, a page at a time."""
        with self.database.read() as connection:
            return lineage.lineage_page(connection, token_id, direction, after=after, limit=limit)

    # States and calls ---------------------------------------------------------------------------------------------

    def get_node_states(
        self,
        run: str,
        *,
        node_id: str | None = None,
        token_id: str | None = None,
        status: StateStatus | None = None,
        after: str | None = None,
        limit: int = PAGE_DEFAULT,
    ) -> Page[StateRecord]:
        """States with their contexts, in the order of the rows."""
        run_id, which = self.run(run).run_id, StateFilter(node_id, token_id, status)
        with self.database.read() as connection:
            return states.node_states_page(connection, run_id, which=which, after=after, limit=limit)

    def every_node_state(
        self,
        run: str,
        *,
        node_id: str | None = None,
        token_id: str | None = None,
        status: StateStatus | None = None,
    ) -> Iterator[StateRecord]:
        """All of them, in constant memory; one read transaction is open until the last was taken."""
        run_id, which = self.run(run).run_id, StateFilter(node_id, token_id, status)
        with self.database.read() as connection:
            yield from states.every_node_state(connection, run_id, which=which)

    def get_calls(
        self, state_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
    ) -> Page[CallStory]:
        """The calls made under a state, with requests and responses."""
        with self.database.read() as connection:
            return call_story.calls_page(connection, state_id, after=after, limit=limit)

    # Pools, joins, batches ----------------------------------------------------------------------------------------

    def pool_stats(self, run: str, *, node_id: str | None = None) -> tuple[pools.PoolExecution, ...]:
        """What the pool of each execution did."""
        run_id = self.run(run).run_id
        with self.database.read() as connection:
            return pools.pool_executions(connection, run_id, node_id=node_id)

    def coalesce_events(
        self, run: str, *, node_id: str | None = None, after: str | None = None, limit: int = PAGE_DEFAULT
    ) -> Page[joins.JoinRecord]:
        """Every decision of the run's joins: policy, arrivals, losses, wait."""
        run_id = self.run(run).run_id
        with self.database.read() as connection:
            return joins.joins_page(connection, run_id, node_id=node_id, after=after, limit=limit)

    def batches(
        self, run: str, *, node_id: str | None = None, after: str | None = None, limit: int = PAGE_DEFAULT
    ) -> Page[batch_reads.BatchRecord]:
        """The batches of the run's aggregates."""
        run_id = self.run(run).run_id
        with self.database.read() as connection:
            return batch_reads.batches_page(connection, run_id, node_id=node_id, after=after, limit=limit)

    def batch_members(
        self, batch_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
    ) -> Page[batch_reads.BatchToken]:
        """The members of a batch, in their order."""
        with self.database.read() as connection:
            return batch_reads.batch_members_page(connection, batch_id, after=after, limit=limit)

    def batch_outputs(
        self, batch_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
    ) -> Page[batch_reads.BatchToken]:
        """The tokens that a batch made."""
        with self.database.read() as connection:
            return batch_reads.batch_outputs_page(connection, batch_id, after=after, limit=limit)
