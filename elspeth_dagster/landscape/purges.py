"""What was purged of a run, and when."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.landscape.schema import purges


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """One purge of one run: how many bodies it erased, and how large they were."""

    purged_at: str
    older_than: str
    bodies: int
    size_bytes: int


def purges_of(connection: Connection, run_id: str) -> tuple[PurgeRecord, ...]:
    """The purges of a run, in order."""
    question = (
        sa.select(purges.c.purged_at, purges.c.older_than, purges.c.bodies, purges.c.size_bytes)
        .where(purges.c.run_id == run_id)
        .order_by(purges.c.purged_at)
    )
    return tuple(PurgeRecord(*found) for found in connection.execute(question))


def refuse_purged(connection: Connection, *, run_id: str, run_key: str, where: str) -> None:
    """Refuse to go on with a run whose rows are gone.

    Raises:
        LaunchError: the run was purged.
    """
    purged = purges_of(connection, run_id)
    if purged:
        raise LaunchError(
            f"Run {run_key} cannot go on: its rows were purged on {purged[-1].purged_at[:10]}.",
            where=where,
            hint="launch a new run",
        )
