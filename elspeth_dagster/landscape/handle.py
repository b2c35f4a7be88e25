"""One execution of one node, as its writer knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection


@dataclass(slots=True, eq=False)
class ExecutionHandle:
    """Who writes, and how far it is. The counts are for watching, not evidence.

    The node's run owns ``rows_done``, ``rows_failed`` and ``rows_total``; the writer's thread owns ``failure`` (why
    nothing more can be written) and the two moments, in monotonic seconds, at which it last told the database.
    It also owns ``tables``, the names of those that were written to.
    ``on_beat`` is called in the writer's transaction whenever progress is told.
    """

    execution_id: str
    run_id: str
    run_key: str
    node_id: str
    attempt: int
    pipeline: str
    partition_key: str | None
    dagster_run_id: str
    started_at: str
    rows_done: int = 0
    rows_failed: int = 0
    rows_total: int | None = None
    failure: BaseException | None = None
    progress_told_s: float = float("-inf")
    heartbeat_told_s: float = float("-inf")
    on_beat: Callable[[Connection], None] | None = None
    tables: set[str] = field(default_factory=set)
