"""Finds a provider's limit from its rejections alone: on the rate (``pace``), or on what is in flight (``places``)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.pace import Pace
from elspeth_dagster.pooling.places import Places


class AdaptiveController:
    """Rides the edge of a limit that nobody told. See :class:`~elspeth_dagster.pooling.Controller`.

    Most limits are on the rate, so it is the pace that decides until rejections show that places are limited.
    """

    slows_down = True

    def __init__(self, config: PoolConfig) -> None:
        self._shortest_ms, self._longest_ms = config.min_dispatch_delay_ms, config.max_dispatch_delay_ms
        self._pace = Pace(config)
        self._places = Places()
        self._in_flight, self._last_sent_s = 0, -math.inf

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now; where places are limited, on the mean."""
        if self._places.cap is None:
            return self._pace.delay_ms
        mean_ms = 1000 * self._pace.meter.latency_s / self._places.cap
        return min(max(mean_ms, self._shortest_ms), self._longest_ms)

    def next_send(self, now: float, in_flight: int) -> float | None:
        """Seconds until another request may leave; None: not before one is back."""
        self._in_flight = in_flight
        cap = self._places.cap
        if cap is None:
            return self._pace.next_send(now, in_flight)
        return max(0.0, self._last_sent_s + self._shortest_ms / 1000 - now) if in_flight < cap else None

    def sent(self, now: float) -> None:
        """Count it."""
        self._last_sent_s = now
        self._places.sent(now, self._in_flight)
        self._pace.sent(now)

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """It was accepted."""
        self._places.accepted(sent_at)
        self._pace.succeeded(now, sent_at, headers)

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        """React, and look at what kind of limit it was."""
        was_capped = self._places.cap is not None
        self._places.rejected(sent_at, now_s=now, latency_s=self._pace.meter.latency_s)
        self._pace.rejected(now, sent_at, retry_after, headers)
        if was_capped and self._places.cap is None:
            self._pace.begin_again(now, retry_after)

    def dropped(self, now: float, sent_at: float) -> None:
        """It tells nothing about places."""
        self._places.forget(sent_at)
        self._pace.dropped(now, sent_at)
