"""A node's progress in the run's log: a line now and then, with the pace and the time that is left.

Every line is an event in Dagster's database, so there are few: one every ten seconds at first, rarer as hours go by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.row import JSON

LINE_S: Final = 10.0
STEADY_LINES: Final = 12
"""Lines at the steady pace. Then each comes half as long again after the last: 28 lines in a day."""

_LATER_GROWTH: Final = 0.5

Log = Callable[[str, Mapping[str, JSON]], None]


@dataclass(slots=True, eq=False)
class ProgressLog:
    """Tells ``log`` how far an execution is, whenever ``tick`` finds that a line is due. One thread calls ``tick``."""

    log: Log
    clock: Clock
    handle: ExecutionHandle | None = None
    _began_s: float = 0.0
    _due_s: float = 0.0
    _lines: int = 0

    def begin(self, handle: ExecutionHandle) -> None:
        """Watch an execution from now on."""
        self._began_s = self.clock.monotonic()
        self._due_s, self._lines = self._began_s + LINE_S, 0
        self.handle = handle  # last: from here on another thread looks at it

    def tick(self) -> None:
        """Write a line if one is due."""
        handle, now_s = self.handle, self.clock.monotonic()
        if handle is None or now_s < self._due_s:
            return
        seconds = now_s - self._began_s
        self._lines += 1
        self._due_s = now_s + (LINE_S if self._lines < STEADY_LINES else seconds * _LATER_GROWTH)
        self.log(*progress_line(handle, seconds=seconds))


def progress_line(handle: ExecutionHandle, *, seconds: float) -> tuple[str, dict[str, JSON]]:
    """What a person reads, and the same as fields for whoever collects logs."""
    done, total, failed = handle.rows_done, handle.rows_total, handle.rows_failed
    per_second = done / seconds
    left_s = None if total is None or not done else max(0, total - done) / per_second
    parts = [f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows"]
    if failed:
        parts.append(f"{failed:,} failed")
    parts.append(f"{float(f'{per_second:.3g}'):,g} rows/s")
    if left_s is not None:
        parts.append(f"about {_duration(left_s)} left")
    fields: dict[str, JSON] = {
        "run_id": handle.run_id,
        "node": handle.node_id,
        "rows_done": done,
        "rows_failed": failed,
        "rows_total": total,
        "rows_per_second": round(per_second, 3),
        "seconds_left": None if left_s is None else round(left_s, 1),
    }
    return f"{handle.node_id}: {', '.join(parts)}", fields


def _duration(seconds: float) -> str:
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
