"""A node tells how far it is: often enough to watch, seldom enough for Dagster's database."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.model.clock import SystemClock
from elspeth_dagster.model.row import JSON
from elspeth_dagster.orchestration.progress_log import ProgressLog, progress_line

DAY_S = 86_400


class OurClock(SystemClock):
    """Moves when it is told to."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def handle(*, rows_done: int = 0, rows_failed: int = 0, rows_total: int | None = None) -> ExecutionHandle:
    began_at = "2026-01-01T00:00:00.000000Z"
    return ExecutionHandle(
        "e", "r", "k", "judge", 1, "moods", None, "d", began_at, rows_done, rows_failed, rows_total
    )


def lines_of(seconds: int) -> list[float]:
    clock, told = OurClock(), list[float]()

    def log(text: str, fields: Mapping[str, JSON]) -> None:
        told.append(clock.now_s)

    progress = ProgressLog(log, clock)
    progress.tick()  # nothing has begun yet
    progress.begin(handle())
    while clock.now_s < seconds:
        clock.now_s += 0.5
        progress.tick()
    return told


def test_there_is_a_line_every_ten_seconds_and_none_for_what_is_quick() -> None:
    assert lines_of(9) == []
    assert lines_of(60) == [10, 20, 30, 40, 50, 60]


def test_a_day_costs_less_than_thirty_lines() -> None:
    told = lines_of(DAY_S)
    assert len(told) <= 28
    assert told[-1] > DAY_S / 2


def test_a_line_says_how_far_how_fast_and_how_long_and_the_same_as_fields() -> None:
    text, fields = progress_line(handle(rows_done=1200, rows_failed=3, rows_total=2400), seconds=5)
    assert text == "judge: 1,200 of 2,400 rows, 3 failed, 240 rows/s, about 5 s left"
    assert fields["rows_per_second"] == 240
    assert fields["seconds_left"] == 5


def test_a_source_whose_length_is_not_known_has_no_time_left() -> None:
    text, fields = progress_line(handle(rows_done=30_000), seconds=10)
    assert text == "judge: 30,000 rows, 3,000 rows/s"
    assert fields["seconds_left"] is None
