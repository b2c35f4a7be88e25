"""Finds a provider's limit from its rejections alone, and then rides just above it.

The rate is measured between rejections (``meter``), so it needs no header and does not oscillate: sending a
little faster than the limit empties the bucket slowly, is rejected once in a few seconds, and loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.meter import LimitMeter

START_IN_FLIGHT = 40
"""Sent without any pace at first: no provider minds so few, and small pools never wait."""

START_DOUBLING_S = 0.2
"""While nothing was rejected, twice as many may be in flight after this time."""

EDGE_PERIOD_S = 1.5
"""In a steady state one rejection in this time is sought: often enough to notice a changed limit soon."""

EXCESS_MIN, EXCESS_MAX, EXCESS_UNSURE_MAX = 0.003, 0.02, 0.08
"""Bounds of how much faster than the limit to send, which is about the share of rejected calls; the last one
while the limit has been measured over a few requests only."""

PROBE_AFTER_PERIODS = 1.5
"""No rejection for so many times longer than steady explains: the limit must have risen."""

QUIET_MAX_S = 4.0
"""Where the limit is so low that a rejection is rare, it is looked for after this time nevertheless."""

PROBE_FIRST = 0.15
"""The first step of a probe."""

PROBE_GROWTH = 2.0
"""Each step of a probe that was answered makes the next one larger."""

ACCEPTED_MIN = 4
"""A rate measured over fewer accepted requests would be mostly chance."""

SPAN_MIN_S = 0.01
"""A rate over less time says more about the clock than about the server."""

SLACK_S = 0.01
"""Event loops wake up late by up to this; what was missed is made up for."""

CHANGED_TOLERANCE = 2.5
"""Between two empty buckets the count is exact but for one token at each end."""

FELL_SHARE = 0.1
"""So large a share of rejections means a lower limit, even if fewer requests were sent than it seemed to allow."""

FALL_MOST = 0.5
"""The estimate falls by this much per epoch at most: where rejections cost tokens, many at once measure nothing."""

LATENCY_WEIGHT = 0.1
"""Weight of one answer in the running mean of the latency."""


class AdaptiveController:
    """Rides the edge of a limit that nobody told. See :class:`~elspeth_dagster.pooling.Controller`."""

    slows_down = True

    def __init__(self, config: PoolConfig) -> None:
        self._shortest_s = config.min_dispatch_delay_ms / 1000
        self._longest_s = config.max_dispatch_delay_ms / 1000
        self._meter = LimitMeter()
        self._limit: float | None = None  # requests per second; None before the first rejection
        self._excess = EXCESS_UNSURE_MAX
        self._probing = False
        self._starting = False
        self._guessed = False
        self._first_s: float | None = None
        self._last_sent_s = -math.inf
        self._next_s = -math.inf
        self._measured_from_s = -math.inf
        self._mark_s = -math.inf  # when the request was sent that opened the present epoch ...
        self._mark_before_s = -math.inf  # ... and the one before it
        self._reacted_s = -math.inf
        self._rejected_s = -math.inf
        self._grown_s = -math.inf
        self._newest_mark_s = -math.inf
        self._streak = 0
        self._least = 0.0
        self._latency_s = 0.0
        self._latency_spread_s = 0.0

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        return self._interval_s() * 1000

    def next_send(self, now: float, in_flight: int) -> float | None:
        """Seconds until the pace allows another request, before the first rejection until the pool may grow."""
        wait_s = self._last_sent_s + self._shortest_s - now
        if self._limit is None:
            return max(0.0, wait_s, self._start_wait_s(now, in_flight))
        return max(0.0, wait_s, self._next_s - now)

    def sent(self, now: float) -> None:
        """Count it and set the time of the next."""
        if self._first_s is None:
            self._first_s = now
        self._meter.sent(now)
        self._last_sent_s = now
        self._next_s = max(self._next_s, now - SLACK_S) + self._interval_s()

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - not yet
        """The limit is not below the pace; if that is so for too long, the limit has risen."""
        self._meter.accepted(sent_at)
        self._note_latency(now - sent_at)
        if sent_at > self._reacted_s:
            self._streak = 0
        if self._limit is None or sent_at <= max(self._grown_s, self._reacted_s):
            return
        if self._guessed or now - self._rejected_s > self._quiet_max_s():
            self._probing = True
            self._excess = max(PROBE_GROWTH * self._excess, PROBE_FIRST)
            self._grown_s = now

    def rejected(
        self,
        now: float,
        sent_at: float,
        retry_after: float | None,
        headers: Mapping[str, str],  # noqa: ARG002
    ) -> None:
        """Measure the limit again; if the request was sent after the last reaction, react."""
        self._meter.rejected(sent_at)
        self._note_latency(now - sent_at)
        self._rejected_s = now
        opens_epoch = sent_at > self._reacted_s
        is_first = self._limit is None
        self._newest_mark_s = max(self._newest_mark_s, sent_at)
        if opens_epoch:
            self._mark_before_s, self._mark_s = self._mark_s, sent_at
            self._starting = is_first
        if is_first or self._probing:
            self._found_edge(sent_at)
        elif self._starting:
            self._guess(self._newest_mark_s)
        else:
            self._measure(self._newest_mark_s, lowers=opens_epoch)
        if opens_epoch:
            self._least = 0.0 if is_first or self._limit is None else self._limit * FALL_MOST
            self._react(now, retry_after)

    def dropped(self, now: float, sent_at: float) -> None:  # noqa: ARG002 - the seam's
        """It took a token, most likely, and tells nothing else."""
        self._meter.accepted(sent_at)

    def _start_wait_s(self, now: float, in_flight: int) -> float:
        if in_flight < START_IN_FLIGHT or self._first_s is None:
            return 0.0
        doublings = math.log2((in_flight + 1) / START_IN_FLIGHT)
        return self._first_s + doublings * START_DOUBLING_S - now

    def _interval_s(self) -> float:
        if self._limit is None:
            return self._shortest_s
        return min(max(1 / (self._limit * (1 + self._excess)), self._shortest_s), self._longest_s)

    def _quiet_max_s(self) -> float:
        steady_s = 1 / ((self._limit or 1.0) * max(self._excess, EXCESS_MIN))
        return self._latency_s + PROBE_AFTER_PERIODS * min(max(steady_s, EDGE_PERIOD_S), QUIET_MAX_S)

    def _found_edge(self, sent_s: float) -> None:
        """The first rejection of all, or of a probe: from here on the limit can be measured."""
        self._probing = False
        self._measured_from_s = sent_s
        self._guess(sent_s)
        self._guessed = self._starting

    def _guess(self, sent_s: float) -> None:
        """Estimate the limit while nothing, or little, was sent since its edge was found."""
        span_s = sent_s - self._measured_from_s
        accepted = self._meter.accepted_between(self._measured_from_s, sent_s)
        self._guessed = accepted < ACCEPTED_MIN
        if self._guessed and span_s <= self._latency_s / 2:
            # Nothing but what was accepted lately, a full bucket with it.
            span_s = max(0.2, 2 * self._latency_s)
            accepted = self._meter.accepted_between(sent_s - span_s, sent_s)
            span_s = max(min(span_s, sent_s - self._meter.first_s), self._latency_s, SPAN_MIN_S)
        self._settle(max(accepted, 1) / span_s, max(accepted, ACCEPTED_MIN))

    def _measure(self, sent_s: float, *, lowers: bool) -> None:
        """Take the rate over the longest window, or over a short one where the two disagree."""
        if self._limit is None or sent_s <= self._measured_from_s:
            return
        before_s = self._mark_before_s
        if before_s > self._measured_from_s and self._has_changed(before_s, sent_s):
            self._measured_from_s = before_s
        from_s = max(self._measured_from_s, self._meter.first_s)
        accepted, span_s = self._meter.accepted_between(from_s, sent_s), max(sent_s - from_s, SPAN_MIN_S)
        if accepted >= ACCEPTED_MIN:
            self._guessed = False
            self._settle(accepted / span_s, accepted)
        elif lowers and self._meter.rejected_share(from_s, sent_s) > FELL_SHARE:
            self._settle(min(self._limit, max(accepted, 0.5) / span_s), ACCEPTED_MIN)

    def _has_changed(self, after_s: float, until_s: float) -> bool:
        """Whether the count since the last epoch differs from the present limit by more than chance."""
        if self._limit is None:
            return False
        expected = self._limit * (until_s - after_s)
        chance = CHANGED_TOLERANCE + 2 * math.sqrt(self._limit * self._latency_spread_s)
        return abs(self._meter.accepted_between(after_s, until_s) - expected) > chance

    def _settle(self, limit: float, accepted: float) -> None:
        self._limit = min(max(limit, self._least, 1 / self._longest_s), 1 / max(self._shortest_s, 1e-6))
        steady = min(max(1 / (self._limit * EDGE_PERIOD_S), EXCESS_MIN), EXCESS_MAX)
        self._excess = max(steady, min(1 / accepted, EXCESS_UNSURE_MAX))

    def _react(self, now: float, retry_after: float | None) -> None:
        """Send nothing for a token's time, twice as long after each rejection in a row, or as the server says."""
        self._streak += 1
        self._reacted_s = now
        tokens = 2.0 ** min(self._streak - 1, 20)
        hold_s = max(tokens / (self._limit or 1.0), self._latency_s if self._starting else 0.0)
        if retry_after is not None:
            # Whole seconds were rounded up by the server; the row itself is held fully elsewhere.
            exact = not float(retry_after).is_integer()
            hold_s = max(hold_s, retry_after if exact else retry_after - 1)
        self._next_s = max(self._next_s, now + min(hold_s, self._longest_s))

    def _note_latency(self, latency_s: float) -> None:
        if self._latency_s == 0.0:
            self._latency_s = latency_s
        off_s = latency_s - self._latency_s
        self._latency_s += LATENCY_WEIGHT * off_s
        self._latency_spread_s += LATENCY_WEIGHT * (abs(off_s) - self._latency_spread_s)
