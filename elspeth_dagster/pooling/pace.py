"""Finds the limit of a rate from rejections alone, and then rides its edge.

Between two rejections the bucket is empty at both ends, so what was accepted is the limit (``meter``). Once that is
known, the rate only rises a little in each cycle and falls as much at the rejection that ends it (``rhythm``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from elspeth_dagster.pooling.announced import Announced
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.crowd import Crowd
from elspeth_dagster.pooling.epoch import Epochs
from elspeth_dagster.pooling.meter import LimitMeter
from elspeth_dagster.pooling.rhythm import HOLD_TOKENS, KNOWN_AT_ALL, KNOWN_SURELY, Rhythm
from elspeth_dagster.pooling.start import Start

OVERSHOT = 1.1
"""A probe that went this much beyond where it began has to find its way back."""

RISEN, RISEN_TOKENS = 0.1, 4.0
"""So much more was accepted than the rate before the probe says, and than what was held back: the limit has risen."""

SURE = 1.4
"""If a probe was no faster than this times what was accepted, that is the limit; else something between the two."""

OVERFLOWED, PROBED_MOST = 1.2, 1.15
"""If less was accepted than the rate, the bucket was full in between, and the count is too low."""

FLOOR_EPOCHS = 3
"""What was accepted during a probe bounds the limit from below, for so many epochs."""

PATIENCE, PATIENCE_MAX, REGULAR = 1.5, 5.0, 0.9
"""A probe that found nothing makes the next one wait so much longer; each regular rejection takes some of that back."""

FELL_REJECTIONS, FELL_TO, FALL_MOST, FELL_KNOWN = 2.5, 0.85, 0.5, 8.0
"""So many rejections close together and so much less accepted: the limit fell; by no more than half at a time."""

HOLD_MORE_MAX = 10
"""The longest that a wave of rejections makes the pool wait, in tokens' times: few buckets hold more."""

CALM = 1.15
"""What an edge costs is typical only if it was met at little more than the known rate."""

SLACK_S, SLACK_TOKENS, SLACK_MAX_S = 0.01, 5.0, 0.05
"""Event loops wake up late, busy ones very; a few tokens are made up for. Beyond that something else held the pool."""

SETTLING_S, IDLE_S = 1.0, 1.0
"""Rejections nearer than this while the rate is not known are the search for it, and say nothing about others. After
so long without work the bucket is full, and a count across the gap says nothing."""


class Pace:
    """Rides the edge of a rate that nobody told; told of everything that happens, whether it is asked or not."""

    def __init__(self, config: PoolConfig) -> None:
        self._shortest_s = config.min_dispatch_delay_ms / 1000
        self._longest_s = config.max_dispatch_delay_ms / 1000
        self.meter = LimitMeter()
        self._epochs = Epochs(self.meter)
        self._start = Start()
        self._announced = Announced()
        self._crowd = Crowd()
        self._rate: float | None = None  # requests per second; None before the first rejection
        self._base, self._probe_s = 0.0, -math.inf  # the rate before the present probe, and when it began
        self._known = 0.0  # how many accepted requests the rate was counted over
        self._floor, self._floor_epochs = 0.0, 0
        self._patience = 1.0
        self._last_sent_s = -math.inf
        self._next_s = -math.inf
        self._idle_s = -math.inf  # when the last idle time ended
        self._held_s = 0.0

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        return self._spacing_s() * 1000

    def next_send(self, now: float, in_flight: int) -> float:
        """Seconds until the pace allows another request, before the first rejection until the pool may grow."""
        wait_s = max(0.0, self._last_sent_s + self._shortest_s - now)
        if self._rate is None:
            return max(wait_s, min(self._start.wait_s(now, in_flight), self._longest_s))
        return max(wait_s, self._next_s - now)

    def sent(self, now: float) -> None:
        """Count it, let the rate rise, and set the time of the next."""
        self.meter.sent(now)
        self._epochs.sent(now)
        if self._rate is None:
            self._start.sent(now)
        else:
            late_s = now - self._next_s
            if late_s > IDLE_S:
                self._idle_s = self._epochs.trouble_s = now
            elif late_s <= self._slack_s() and self._epochs.came_through(now):
                self._grow(self._rate, now)
        self._last_sent_s = now
        self._next_s = max(self._next_s, now - self._slack_s()) + self._spacing_s()

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """Count it; it was accepted."""
        self.meter.accepted(sent_at, now_s=now)
        self._read(headers, now)
        self._epochs.accepted(sent_at)

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        """Measure the limit again; if the request was sent after the last reaction, react."""
        rate, opens_epoch = self._rate, self._epochs.rejected(sent_at, now_s=now)
        if rate is None:
            self._epochs.begin(sent_at)
            self._base = self._set(self._start.guess(self.meter, now_s=now))
            self._react(now, retry_after, at_least_s=self.meter.news_s)
        elif opens_epoch:
            self._open_epoch(rate, now, sent_at)
            self._find_rate(rate, now, sent_at)
            self._check_fall(now)
            self._sense_crowd(now, sent_at)
            self._react(now, retry_after)
        else:
            self._check_fall(now)
            self._hold_longer(now)
        self._read(headers, now)

    def begin_again(self, now: float, retry_after: float | None) -> None:
        """Nothing is known any more but what was accepted lately."""
        self._known, self._patience = 0.0, 1.0
        self._base = self._set(self._start.guess(self.meter, now_s=now))
        self._react(now, retry_after)

    def dropped(self, now: float, sent_at: float) -> None:  # noqa: ARG002 - the seam's
        """It took a token, most likely, and tells nothing else."""
        self.meter.accepted(sent_at)

    def _read(self, headers: Mapping[str, str], now: float) -> None:
        """Believe an announced limit at once; what happens at its edge shows whether it is true."""
        limit = self._announced.news(headers, found=self._rate if self._known >= KNOWN_SURELY else None)
        if limit is not None:
            self._known, self._patience = KNOWN_SURELY, 1.0
            self._crowd.disperse()
            self._settle(limit)
            self._base, self._probe_s = self._rate or limit, now
            self._epochs.reacted_s = now

    # Rising

    def _grow(self, rate: float, now: float) -> None:
        """By the rhythm of the cycle; faster when a rejection is overdue."""
        rhythm = self._rhythm(rate)
        over_s = self._overdue_s(rhythm, now)
        if over_s <= 0:
            self._base, self._probe_s = rate, now
        growth = rhythm.growth_per_s if over_s <= 0 else rhythm.probing_per_s(over_s)
        for_s = now - max(self._last_sent_s, self._epochs.reacted_s)
        self._set(rate * math.exp(min(growth * for_s, math.log(2))))

    def _overdue_s(self, rhythm: Rhythm, now: float) -> float:
        return now - self._epochs.reacted_s - self._held_s - self.meter.news_s - rhythm.quiet_s

    # At a rejection

    def _open_epoch(self, rate: float, now: float, sent_s: float) -> None:
        is_calm = self._known >= KNOWN_SURELY and rate < CALM * self._base
        self._epochs.open(sent_s, now_s=now, rate=rate, is_calm=is_calm)
        self._floor_epochs -= 1
        self._floor = self._floor if self._floor_epochs > 0 else 0.0

    def _find_rate(self, rate: float, now: float, sent_s: float) -> None:
        rhythm = self._rhythm(rate)
        accepted, measured = self._measure(now, sent_s)
        if self._overdue_s(rhythm, now) > 0 and rate > OVERSHOT * self._base:
            self._end_probe(rhythm, now, sent_s)
        elif self._known >= KNOWN_SURELY or self._crowd.is_there:
            self._set(rate * (1 - rhythm.cut))
            self._patience = max(1.0, self._patience * REGULAR)
        elif accepted >= KNOWN_AT_ALL:
            self._known += accepted
            self._settle(max(measured, self._floor))
        else:
            self._set(max(rate * (1 - rhythm.cut), self._floor))

    def _measure(self, now: float, sent_s: float) -> tuple[float, float]:
        """What was accepted since the last rejection, and how many per second; 0 if nothing can be said."""
        is_decided = self.meter.is_decided(self._epochs.ended_s, sent_s, now_s=now)
        if self._epochs.ended_s < self._idle_s or not is_decided:
            return 0.0, 0.0
        accepted = self.meter.accepted_between(self._epochs.ended_s, sent_s, now_s=now)
        return accepted, accepted / max(sent_s - self._epochs.ended_s, 1e-3)

    def _end_probe(self, rhythm: Rhythm, now: float, sent_s: float) -> None:
        """A rejection came at last: either the limit has risen, or the probe went beyond it."""
        accepted, measured = self._measure(now, sent_s)
        expected = self._base * (sent_s - self._epochs.ended_s)
        if self._crowd.is_there:
            self._set(math.sqrt(self._base * rhythm.rate) * (1 - rhythm.cut))
        elif accepted < KNOWN_AT_ALL:
            self._set(max(self._base, rhythm.rate * (1 - rhythm.cut)))
        elif self._known >= KNOWN_AT_ALL and accepted - expected < max(RISEN_TOKENS, RISEN * expected):
            if self._known >= KNOWN_SURELY:
                self._patience = min(self._patience * PATIENCE, PATIENCE_MAX)
            self._known = max(self._known, accepted)
            least = self._base * (1 - OVERFLOWED * rhythm.cut)
            self._settle(max(measured, least, min(self._probed(now, sent_s), PROBED_MOST * self._base)))
        else:
            self._follow_rise(rhythm.rate, accepted, max(measured, self._probed(now, sent_s)))

    def _probed(self, now: float, sent_s: float) -> float:
        """What was accepted per second of the probe, but for what may have been left in the bucket."""
        since_s = max(self._probe_s, self._epochs.ended_s)
        accepted = self.meter.accepted_between(since_s, sent_s, now_s=now) - HOLD_TOKENS - 1
        return accepted / max(sent_s - since_s, 1e-3)

    def _follow_rise(self, rate: float, accepted: float, measured: float) -> None:
        self._patience = 1.0
        self._crowd.forget_rate()
        if rate < SURE * measured:
            self._known = accepted
            self._set(measured)
        else:
            self._floor, self._floor_epochs = measured, FLOOR_EPOCHS
            self._known = 0.0
            self._set(math.sqrt(measured * rate))

    def _check_fall(self, now: float) -> None:
        """Several rejections close together: count what was accepted since the first of them."""
        trouble_s, newest_s = self._epochs.trouble_s, self._epochs.newest_s
        span_s = newest_s - trouble_s
        if self._rate is None or self._epochs.troubles < 2 or span_s <= 0 or self._crowd.is_there:  # noqa: PLR2004 - a second
            return
        chance = FELL_REJECTIONS + 2 * math.sqrt(self._rate * self.meter.spread_s)
        if self.meter.rejected_between(trouble_s, newest_s) < chance:
            return
        if not self.meter.is_decided(trouble_s, newest_s, now_s=now):
            return
        accepted = self.meter.accepted_between(trouble_s, newest_s, now_s=now)
        found = max((accepted + 0.5) / span_s, self._floor)
        if found < self._rate * FELL_TO:
            self._set(max(found, self._rate * FALL_MOST))
            self._known = min(accepted, FELL_KNOWN)
            self._patience = 1.0
            self._epochs.explain_by_fall()
            self._crowd.disperse()

    def _sense_crowd(self, now: float, sent_s: float) -> None:
        is_settling = self._known < KNOWN_SURELY and sent_s - self._epochs.ended_s < SETTLING_S
        if is_settling and not self._crowd.is_there:
            self._crowd.forget_rate()
        elif self._rate is not None and self._epochs.ended_s >= self._idle_s:
            self._crowd.judge(
                self.meter, now_s=now, since_s=self._epochs.ended_s, mark_s=sent_s, rate=self._rate
            )

    def _react(self, now: float, retry_after: float | None, *, at_least_s: float = 0.0) -> None:
        """Send nothing for some tokens' time, twice as long after each rejection in a row, or as the server says."""
        self._epochs.reacted(now)
        hold_s = max(HOLD_TOKENS * 2.0 ** min(self._epochs.streak, 20) * self._spacing_s(), at_least_s)
        if retry_after is not None:
            # Whole seconds were rounded up by the server; the row itself is held fully elsewhere.
            hold_s = max(hold_s, retry_after - float(retry_after).is_integer())
        self._held_s = min(hold_s, self._longest_s)
        self._next_s = max(min(self._next_s, now + self._longest_s), now + self._held_s)

    def _hold_longer(self, now: float) -> None:
        """Another of the same epoch: where it cost a token, that must flow in; else the bucket takes up the wait."""
        if self._epochs.burst <= HOLD_MORE_MAX:
            more_s = min(self._spacing_s(), max(0.0, self._longest_s - self._held_s))
            self._held_s += more_s
            self._next_s = min(max(self._next_s, now) + more_s, now + self._longest_s)

    # Values

    def _rhythm(self, rate: float) -> Rhythm:
        return Rhythm(
            rate=rate,
            known=max(self._known, 0.0),
            burst=self._epochs.burst_mean,
            news_s=self.meter.news_s,
            patience=self._patience,
            is_crowded=self._crowd.is_there,
        )

    def _settle(self, limit: float) -> None:
        """Begin a cycle at ``limit``."""
        self._set(self._rhythm(self._set(limit)).after_rejection())

    def _set(self, rate: float) -> float:
        self._rate = min(max(rate, 1 / self._longest_s), 1 / max(self._shortest_s, 1e-6))
        return self._rate

    def _slack_s(self) -> float:
        return min(SLACK_S + SLACK_TOKENS * self._spacing_s(), SLACK_MAX_S)

    def _spacing_s(self) -> float:
        if self._rate is None:
            return self._shortest_s
        return min(max(1 / self._rate, self._shortest_s), self._longest_s)
