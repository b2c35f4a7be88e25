"""Whether the nodes that feed another one have come to their end in the Landscape, as Dagster says that they have."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from elspeth_dagster.errors import LandscapeUnavailableError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_executions
from elspeth_dagster.model.outcome import ExecutionStatus


def refuse_missing_feeders(
    database: Database, *, run_id: str, node_id: str, feeders: Sequence[str], is_join: bool
) -> None:
    """Make sure that every feeder's execution is on record: a node begins only when they are done.

    Where one is not, this is not the Landscape that they wrote to, and the node would find no rows to work on. A join
    looks at each branch by itself, and names the token that is missing: one feeder is enough for it to begin.

    Raises:
        LandscapeUnavailableError: it has no completed execution of a feeder.
    """
    missing = sorted(set(feeders) - _completed(database, run_id))
    if missing and not (is_join and len(missing) < len(set(feeders))):
        raise LandscapeUnavailableError(
            f"This Landscape does not have what {', '.join(map(repr, missing))} recorded: it was deleted, replaced or "
            "restored while the run was under way.",
            where=f"{database.shown_url}, run {run_id}, node {node_id!r}",
            hint="put back the Landscape that the run began with and resume, or start a new run",
        )


@patient
def _completed(database: Database, run_id: str) -> set[str]:
    table = node_executions
    question = sa.select(table.c.node_id).where(
        table.c.run_id == run_id, table.c.status == ExecutionStatus.COMPLETED.value
    )
    with database.read() as connection:
        return set(connection.execute(question).scalars())
