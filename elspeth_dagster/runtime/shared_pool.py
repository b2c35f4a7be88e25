"""Let a pool use its share of a limit that several processes divide among them, through the Landscape."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.sharing import SharedPool, leave, looking
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.pooling import PoolConfig, PooledExecutor
from elspeth_dagster.runtime.work import Work


@contextlib.contextmanager
def sharing(work: Work, pool: PooledExecutor, config: PoolConfig, settings: ModelSettings) -> Iterator[None]:
    """While inside, the pool's limit is this process's share, looked at anew with every heartbeat, if it is shared.

    The writer's thread does the looking, so a share is as old as the last heartbeat at most.
    """
    if not config.shared:
        yield
        return
    shared = SharedPool(f"{settings.address}|{settings.model}", config.pool_size)
    member_id = work.handle.execution_id

    pool.set_limit(0)  # until the first look
    work.handle.on_beat = looking(
        shared, member_id=member_id, clock=work.clock, in_use=lambda: pool.in_use, allow=pool.set_limit
    )
    work.handle.progress_told_s = float("-inf")
    try:
        yield
    finally:
        work.handle.on_beat = None
        with contextlib.suppress(ElspethError):  # else it is buried as dead
            leave(work.database, shared, member_id=member_id)
