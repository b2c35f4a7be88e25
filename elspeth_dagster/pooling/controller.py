"""The seam between a pool and what finds its pace.

A controller is a pure state machine: no clock, no sleep, no I/O. The dispatcher tells it the time, so a simulation
can drive it through hours in milliseconds. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from elspeth_dagster.pooling.adaptive import AdaptiveController
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.throttle import AIMDThrottle

_MS_PER_S = 1000.0


class Controller(Protocol):
    """Finds the pace of a pool. Called from one thread; ``delay_ms`` may be read from any.

    ``slows_down`` says that the pace itself falls after a rejection. Where it does not, the dispatcher makes
    each rejected row wait longer and longer instead.
    """

    slows_down: bool

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        ...

    def next_send(self, now: float, in_flight: int) -> float | None:
        """Seconds to wait before the next dispatch; None: not while so many are in flight (never at 0)."""
        ...

    def sent(self, now: float) -> None:
        """A request leaves now."""
        ...

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """The request sent at ``sent_at`` was answered."""
        ...

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        """The request sent at ``sent_at`` met no capacity; ``retry_after`` is the wait that the server asks."""
        ...

    def dropped(self, now: float, sent_at: float) -> None:
        """The request sent at ``sent_at`` ended in a way that tells nothing about capacity."""
        ...


class FixedController:
    """One delay, whatever happens."""

    slows_down = False

    def __init__(self, config: PoolConfig) -> None:
        self.delay_ms = float(config.min_dispatch_delay_ms)
        self._next_s = -math.inf

    def next_send(self, now: float, in_flight: int) -> float | None:  # noqa: ARG002 - a rate has no use for it
        """Seconds until the delay since the last dispatch is over."""
        return max(0.0, self._next_s - now)

    def sent(self, now: float) -> None:
        """Start the next delay."""
        self._next_s = now + self.delay_ms / _MS_PER_S

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """Nothing to learn."""

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        """Nothing to learn."""

    def dropped(self, now: float, sent_at: float) -> None:
        """Nothing to learn."""


class AIMDController:
    """The arithmetic of :class:`AIMDThrottle`, as a pace.

    An answer to a request that was sent before the last back-off does not count: it says that the old delay was too
    short only for others, and would take the back-off back at once.
    """

    slows_down = True

    def __init__(self, config: PoolConfig) -> None:
        self._throttle = AIMDThrottle(config)
        self._last_sent_s = -math.inf

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        return self._throttle.current_delay_ms

    def next_send(self, now: float, in_flight: int) -> float | None:  # noqa: ARG002 - a rate has no use for it
        """Seconds until the present delay, counted from the last dispatch, is over."""
        return max(0.0, self._last_sent_s + self.delay_ms / _MS_PER_S - now)

    def sent(self, now: float) -> None:
        """Start the next delay."""
        self._last_sent_s = now

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - the seam's
        """Recover one step, if this was sent at the present delay."""
        if sent_at > self._throttle.backed_off_s:
            self._throttle.on_success()

    def rejected(
        self,
        now: float,
        sent_at: float,
        retry_after: float | None,  # noqa: ARG002 - holds the row, not the pool
        headers: Mapping[str, str],  # noqa: ARG002 - the seam's
    ) -> None:
        """Back off once per congestion epoch."""
        self._throttle.on_capacity_error(now_s=now, sent_s=sent_at)

    def dropped(self, now: float, sent_at: float) -> None:
        """Nothing to learn."""


def controller_for(config: PoolConfig) -> Controller:
    """The controller that ``config.throttle`` names."""
    if config.throttle == "fixed":
        return FixedController(config)
    if config.throttle == "aimd":
        return AIMDController(config)
    return AdaptiveController(config)
