"""Clocks that tests turn."""

from __future__ import annotations

import datetime as dt

from elspeth_dagster.model.clock import SystemClock


class Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = dt.timedelta(seconds=seconds)

    def now(self) -> dt.datetime:
        return super().now() + self._ahead
