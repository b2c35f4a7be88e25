"""Runs as they stand now, a page at a time: each with its status, which is worked out from what was recorded."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Page
from elspeth_dagster.landscape.runs import AttemptRecord, RunRecord, listed_page
from elspeth_dagster.landscape.status import run_status
from elspeth_dagster.model.outcome import RunStatus


@dataclass(frozen=True, slots=True)
class RunStanding:
    """A run, its latest attempt, and how it stands."""

    run: RunRecord
    status: RunStatus
    latest_attempt: AttemptRecord


def runs_page(
    database: Database, *, now: dt.datetime, after: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[RunStanding]:
    """The runs, latest first."""
    with database.read() as connection:
        page = listed_page(connection, after=after, limit=limit)
    return Page(
        tuple(
            RunStanding(one.run, run_status(database, one.run.run_id, now=now), one.latest) for one in page
        ),
        page.next,
    )
