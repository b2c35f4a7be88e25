"""Purge old runs: erase their bodies, salts and request keys for good. All evidence stays, and still verifies.

Spared is what a younger run still uses: the rows that it adopted, and the calls whose answers it took over. Each
transaction erases salts together with all bodies under them, so the Landscape is whole at any moment, and writers wait
for milliseconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.purge_candidates import ended_at_of, old_runs, spared_salts
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.schema import payloads, purges, request_keys, row_salts
from elspeth_dagster.model.clock import timestamp

PAGE: Final = 500  # salts a transaction: with their bodies some megabytes, so that writers need not wait long


@dataclass(frozen=True, slots=True)
class ToPurge:
    """One run's content that may be erased; ``bodies_spared`` are kept for younger runs."""

    run: RunRecord
    ended_at: str
    bodies: int
    size_bytes: int
    bodies_spared: int


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What a purge would erase: the content of runs that ended before ``before``."""

    before: str
    older_than: str
    runs: tuple[ToPurge, ...]
    spared: frozenset[str]

    @property
    def bodies(self) -> int:
        """How many bodies it would erase."""
        return sum(one.bodies for one in self.runs)

    @property
    def size_bytes(self) -> int:
        """How large they are."""
        return sum(one.size_bytes for one in self.runs)


def plan_purge(database: Database, *, older_than: dt.timedelta, shown: str, now: dt.datetime) -> PurgePlan:
    """What would be erased now. ``shown`` is the age as it was given, for the record."""
    before = timestamp(now - older_than)
    old = old_runs(database, before=before, now=now)
    spared = spared_salts(database, [run.run_id for run, _ in old])
    with database.read() as connection:
        found = [_to_purge(connection, run, ended_at, spared) for run, ended_at in old]
    return PurgePlan(before, shown, tuple(one for one in found if one.bodies), frozenset(spared))


def _to_purge(connection: Connection, run: RunRecord, ended_at: str, spared: set[str]) -> ToPurge:
    bodies, size_bytes = _sizes(connection, row_salts.c.run_id == run.run_id)
    of_run = sa.select(row_salts.c.salt_id).where(row_salts.c.run_id == run.run_id)
    kept_bodies = kept_bytes = 0
    for page in _pages(sorted(spared)):
        count, size = _sizes(
            connection, sa.and_(row_salts.c.salt_id.in_(page), row_salts.c.salt_id.in_(of_run))
        )
        kept_bodies, kept_bytes = kept_bodies + count, kept_bytes + size
    return ToPurge(run, ended_at, bodies - kept_bodies, size_bytes - kept_bytes, kept_bodies)


def _sizes(connection: Connection, where: sa.ColumnElement[bool]) -> tuple[int, int]:
    """How many bodies these salts have, and how many bytes."""
    question = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.length(payloads.c.body)), 0))
        .select_from(payloads.join(row_salts, row_salts.c.salt_id == payloads.c.salt_id))
        .where(where)
    )
    count, size_bytes = connection.execute(question).one()
    return int(count), int(size_bytes)


def _pages(salts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(salts), PAGE):
        yield salts[start : start + PAGE]


def purge(database: Database, plan: PurgePlan, *, now: dt.datetime) -> tuple[ToPurge, ...]:
    """Erase what ``plan`` says, and record it. It may be broken off and begun again at any moment.

    Returns the runs that were purged: one that was gone on with since the plan was made is left alone, and what younger
    runs have begun to use since then is spared.
    """
    spared = plan.spared | spared_salts(database, [one.run.run_id for one in plan.runs])
    done = []
    for one in plan.runs:
        key = {"run_id": one.run.run_id, "purged_at": timestamp(now)}
        if not _begin(database, key, plan, now=now):
            continue
        done.append(one)
        last: str | None = ""
        while last is not None:
            last = _erase_page(database, key, last, spared)
    return tuple(done)


def _begin(database: Database, key: dict[str, str], plan: PurgePlan, *, now: dt.datetime) -> bool:
    """Record the purge, from when on nobody can go on with the run; unless somebody does already."""
    with database.alone() as connection:  # as executions begin: either sees what the other did
        ended_at = ended_at_of(database, key["run_id"], now)
        if ended_at is None or ended_at >= plan.before:
            return False
        connection.execute(
            sa.insert(purges).values(**key, older_than=plan.older_than, bodies=0, size_bytes=0)
        )
        connection.execute(sa.delete(request_keys).where(request_keys.c.run_id == key["run_id"]))
    return True


def _erase_page(database: Database, key: dict[str, str], after: str, spared: frozenset[str]) -> str | None:
    """Erase some salts with their bodies; returns the last one looked at, None when there are no more."""
    question = (
        sa.select(row_salts.c.salt_id)
        .where(row_salts.c.run_id == key["run_id"], row_salts.c.salt_id > after)
        .order_by(row_salts.c.salt_id)
        .limit(PAGE)
    )
    with database.write() as connection:
        if database.dialect == "sqlite":
            connection.exec_driver_sql(
                "PRAGMA secure_delete=ON"
            )  # freed pages are overwritten, not just forgotten
        found = list(connection.execute(question).scalars())
        page = [salt_id for salt_id in found if salt_id not in spared]
        count, size_bytes = _sizes(connection, row_salts.c.salt_id.in_(page))
        connection.execute(sa.delete(payloads).where(payloads.c.salt_id.in_(page)))
        connection.execute(sa.delete(row_salts).where(row_salts.c.salt_id.in_(page)))
        connection.execute(
            sa.update(purges)
            .where(*(purges.c[name] == value for name, value in key.items()))
            .values(bodies=purges.c.bodies + count, size_bytes=purges.c.size_bytes + size_bytes)
        )
    return found[-1] if found else None
