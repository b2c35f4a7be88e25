"""Additive recovery, multiplicative back-off, on the delay between two dispatches.

Arithmetic only: who waits, and when, is the controller's and the dispatcher's.
"""

from __future__ import annotations

import math
import threading
from typing import TypedDict

from elspeth_dagster.pooling.config import PoolConfig


class ThrottleStats(TypedDict):
    """What a throttle has seen since it was made."""

    capacity_errors: int
    back_offs: int
    successes: int
    peak_delay_ms: float
    current_delay_ms: float


class AIMDThrottle:
    """The delay between dispatches: grows on a capacity error, shrinks step by step on success.

    A capacity error makes 0 into ``max(recovery_step, min)`` and multiplies anything else, then caps it; a
    success makes it ``max(delay - recovery_step, min)``. One decrease of the rate per congestion epoch: an
    error of a request that was sent before the last back-off says nothing that the back-off did not answer.

    Safe to use from several threads; one lock owns all of it.
    """

    def __init__(self, config: PoolConfig | None = None) -> None:
        self._config = config or PoolConfig()
        self._lock = threading.Lock()
        self._delay_ms = float(self._config.min_dispatch_delay_ms)
        self._peak_delay_ms = self._delay_ms
        self._backed_off_s = -math.inf
        self._capacity_errors = 0
        self._back_offs = 0
        self._successes = 0

    @property
    def current_delay_ms(self) -> float:
        """The delay between two dispatches now."""
        return self._delay_ms

    @property
    def backed_off_s(self) -> float:
        """When it last backed off, if it was told the time; minus infinity before."""
        return self._backed_off_s

    @property
    def peak_delay_ms(self) -> float:
        """The longest delay so far."""
        return self._peak_delay_ms

    def on_capacity_error(self, *, now_s: float | None = None, sent_s: float | None = None) -> bool:
        """Back off, unless the request was sent no later than the last back-off; whether it did.

        Times are of one monotonic clock; without them every error is an epoch of its own.
        """
        with self._lock:
            self._capacity_errors += 1
            if sent_s is not None and sent_s <= self._backed_off_s:
                return False
            if now_s is not None:
                self._backed_off_s = now_s
            self._back_offs += 1
            self._delay_ms = self._grown(self._delay_ms)
            self._peak_delay_ms = max(self._peak_delay_ms, self._delay_ms)
            return True

    def on_success(self) -> None:
        """Take one recovery step off the delay."""
        with self._lock:
            self._successes += 1
            floor_ms = self._config.min_dispatch_delay_ms
            self._delay_ms = max(self._delay_ms - self._config.recovery_step_ms, floor_ms)

    def get_stats(self) -> ThrottleStats:
        """Counters and delays of one instant."""
        with self._lock:
            return ThrottleStats(
                capacity_errors=self._capacity_errors,
                back_offs=self._back_offs,
                successes=self._successes,
                peak_delay_ms=self._peak_delay_ms,
                current_delay_ms=self._delay_ms,
            )

    def _grown(self, delay_ms: float) -> float:
        config = self._config
        if delay_ms == 0:
            grown_ms = max(config.recovery_step_ms, config.min_dispatch_delay_ms)
        else:
            grown_ms = delay_ms * config.backoff_multiplier
        return min(grown_ms, config.max_dispatch_delay_ms)
