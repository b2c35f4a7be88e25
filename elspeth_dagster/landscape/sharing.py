"""One pool limit for many processes: each holds a share of it, and the shares never add up to more than the limit.

A process takes what is free of its fair share, and looks again at every heartbeat: whoever may use more than that uses
less from now on, and gives the rest back a heartbeat later, when the calls in it have ended. So a newcomer may wait
for its first slot, and the limit is never passed. A member that is silent for `MEMBER_STALE_S` counts as dead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.schema import pool_members
from elspeth_dagster.model.clock import Clock, timestamp

MEMBER_STALE_S: Final = 30.0
"""Sixty heartbeats. A dead process's calls may run on at the provider for a while: its share is not taken at once."""


@dataclass(frozen=True, slots=True)
class SharedPool:
    """A limit that several processes share: ``key`` names it, ``limit`` is the most calls in flight of all together."""

    key: str
    limit: int


def refresh_share(
    connection: Connection, pool: SharedPool, *, member_id: str, in_use: int, clock: Clock
) -> int:
    """Say hello, and return how many calls this member may have in flight from now on.

    ``in_use`` is the larger of how many it has in flight and how many it was allowed until now: what may be in use is
    never given to others. A larger share is allowed one heartbeat after it was stored: by then it is surely durable.
    """
    _lock(connection, pool.key)
    _bury_dead(connection, pool.key, clock)
    shares = _shares(connection, pool.key)
    mine = shares.pop(member_id, None)
    fair = _fair_share(pool.limit, member_id, [*shares, member_id])
    share = min(fair, max(0, pool.limit - sum(shares.values())))
    held = max(share, in_use)
    _store(connection, pool.key, member_id, held, is_new=mine is None, now=timestamp(clock.now()))
    return min(share, mine or 0)


def leave(database: Database, pool: SharedPool, *, member_id: str) -> None:
    """Give the whole share back."""
    table = pool_members
    with database.write() as connection:
        connection.execute(
            sa.delete(table).where(table.c.pool_key == pool.key, table.c.member_id == member_id)
        )


def looking(
    pool: SharedPool,
    *,
    member_id: str,
    clock: Clock,
    in_use: Callable[[], int],
    allow: Callable[[int], None],
) -> Callable[[Connection], None]:
    """What to do at each heartbeat: look for this member's share, and ``allow`` it."""

    def look(connection: Connection) -> None:
        allow(refresh_share(connection, pool, member_id=member_id, in_use=in_use(), clock=clock))

    return look


def _fair_share(limit: int, member_id: str, members: list[str]) -> int:
    """An equal part; what cannot be divided goes to the first members, one each."""
    whole, rest = divmod(limit, len(members))
    return whole + (sorted(members).index(member_id) < rest)


def _lock(connection: Connection, key: str) -> None:
    """One member at a time. SQLite's writing transactions exclude each other anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"pool {key}"})


def _bury_dead(connection: Connection, key: str, clock: Clock) -> None:
    stale = timestamp(clock.now() - dt.timedelta(seconds=MEMBER_STALE_S))
    table = pool_members
    connection.execute(sa.delete(table).where(table.c.pool_key == key, table.c.heartbeat_at < stale))


def _shares(connection: Connection, key: str) -> dict[str, int]:
    table = pool_members
    found = connection.execute(sa.select(table.c.member_id, table.c.share).where(table.c.pool_key == key))
    return {str(member): int(share) for member, share in found}


def _store(connection: Connection, key: str, member_id: str, share: int, *, is_new: bool, now: str) -> None:
    table = pool_members
    if is_new:
        connection.execute(
            sa.insert(table).values(pool_key=key, member_id=member_id, share=share, heartbeat_at=now)
        )
    else:
        connection.execute(
            sa.update(table)
            .where(table.c.pool_key == key, table.c.member_id == member_id)
            .values(share=share, heartbeat_at=now)
        )
