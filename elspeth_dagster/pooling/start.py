"""How a pool begins while it was never rejected: at once with a few in flight, and soon with many."""

from __future__ import annotations

import math

from elspeth_dagster.pooling.meter import LimitMeter

IN_FLIGHT = 40
"""No provider minds so few at first, and small pools never wait."""

DOUBLING_S = 0.4
"""Twice as many may be in flight after each such time."""

GUESSED_OVER_S = 0.2
"""The first guess is what was accepted, over this time at least: most of it was a full bucket."""


class Start:
    """The pace before the first rejection."""

    def __init__(self) -> None:
        self._first_s: float | None = None

    def sent(self, now_s: float) -> None:
        """A request left."""
        if self._first_s is None:
            self._first_s = now_s

    def wait_s(self, now_s: float, in_flight: int) -> float:
        """Seconds until another may leave; not above 0: now."""
        if in_flight < IN_FLIGHT or self._first_s is None:
            return 0.0
        doublings = math.log2((in_flight + 1) / IN_FLIGHT)
        return self._first_s + doublings * DOUBLING_S - now_s

    @staticmethod
    def guess(meter: LimitMeter, *, now_s: float) -> float:
        """Requests per second: all that is known at the first rejection."""
        over_s = max(GUESSED_OVER_S, 2 * meter.latency_s)
        return max(meter.accepted_between(now_s - over_s, now_s, now_s=now_s), 1.0) / over_s
