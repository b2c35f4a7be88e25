"""Additive increase, multiplicative decrease, on the rate: what a textbook says about finding a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping

START_PER_S = 10.0

INCREASE_PER_S = 10.0
"""A second of answers makes the rate so much higher."""

DECREASE = 0.7
"""TCP's classic half suits queues; CUBIC's factor loses less where the limit is a rate."""

LATE_S = 0.01
"""A timer that fires late by up to this is made up for."""


class RateAIMD:
    """Doubles the rate in each round trip until the first rejection; after it, one decrease an epoch."""

    slows_down = True

    def __init__(self) -> None:
        self._rate = START_PER_S
        self._next_s = -math.inf
        self._decreased_s = -math.inf

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        return 1000 / self._rate

    def next_send(self, now: float, in_flight: int) -> float | None:  # noqa: ARG002 - a rate has no use for it
        """Seconds until the pace allows another request."""
        return max(0.0, self._next_s - now)

    def sent(self, now: float) -> None:
        """Set the time of the next."""
        self._next_s = max(self._next_s, now - LATE_S) + 1 / self._rate

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - the seam's
        """Increase: by a share of what a second of answers adds; at first by the rate itself in a round trip."""
        if self._decreased_s == -math.inf:
            self._rate += 1 / max(now - sent_at, LATE_S)
        else:
            self._rate += INCREASE_PER_S / self._rate

    def rejected(
        self,
        now: float,
        sent_at: float,
        retry_after: float | None,  # noqa: ARG002 - textbooks know none
        headers: Mapping[str, str],  # noqa: ARG002
    ) -> None:
        """Decrease, unless the request was sent before the last decrease."""
        if sent_at > self._decreased_s:
            self._decreased_s = now
            self._rate = max(1.0, self._rate * DECREASE)

    def dropped(self, now: float, sent_at: float) -> None:
        """Nothing to learn."""
