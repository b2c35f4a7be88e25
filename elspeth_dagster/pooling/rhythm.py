"""How a found rate rises between two rejections, and how far it falls at one.

In a steady state the rate rises a little in every cycle and falls by as much at the rejection that ends it. So little
that a bucket of a few tokens takes it up: no capacity is lost, and each cycle costs one rejection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOLD_TOKENS = 2.0
"""After a rejection nothing is sent for so many tokens' time: where rejections cost a token, too, one would not do."""

KNOWN_SURELY = 40.0
"""A rate that was counted over so many accepted requests is taken as known."""

KNOWN_AT_ALL = 4.0
"""A rate that was counted over fewer is mostly chance."""

CYCLE_S = 0.8
CYCLE_TOKENS = 25.0
"""In a steady state one rejection is sought in this time, or in so many requests: soon enough to see the limit rise."""

CYCLE_EXTRA_TOKENS = 60.0
"""The cycle is longer by this for each further rejection that one edge costs, as where 429s cost tokens."""

CYCLE_MAX_S = 8.0
CYCLE_NEWS = 2.0
"""A cycle is at least so many times longer than rejections take to come back."""

CYCLE_UNSURE_TOKENS = 8.0
CYCLE_BLIND_MAX_S = 2.0
"""While a rate is known from few requests, a cycle takes little more than as many: each doubles what is known."""

CUT_TOKENS = 8.0
CUT_MIN, CUT_MAX, CUT_UNSURE_MAX = 0.005, 0.06, 0.3
"""The fall at a rejection: what a small bucket takes up in a cycle, more while the rate is known from few requests."""

CROWD_CYCLE_S = 1.25
CROWD_CYCLE_TOKENS = 5.0
CROWD_CUT_TOKENS = 15.0
CROWD_CUT_MAX = 0.15
CROWD_QUIET_CYCLES = 1.5
"""Among others on the same key all rise by the same share in the same time, and fall by the same share at each
rejection. Who sends more is rejected more often, so the shares become equal."""

QUIET_CYCLES = 1.3
QUIET_CYCLES_UNSURE = 2.5
QUIET_MAX_S = 10.0
QUIET_SLOW_PER_S, QUIET_SLOW_S = 10.0, 4.0
"""No rejection for longer than so many cycles: the limit must have risen. A low rate is doubted sooner than its long
cycle ends: it may be a share that others left."""

PROBE_S = 0.2
PROBE_CROWD_S = 0.4
PROBE_NEWS = 2.0
PROBE_FIRST, PROBE_MOST = 0.2, 0.5
"""A probe grows by these shares in the time of its unit, the share doubling in each."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The rhythm at ``rate`` requests per second, which was counted over ``known`` accepted ones.

    ``burst`` rejections come at once at an edge, ``news_s`` after their requests were sent. ``patience`` is 1 or more;
    it grows when a probe found nothing.
    """

    rate: float
    known: float
    burst: float
    news_s: float
    patience: float
    is_crowded: bool

    @property
    def cycle_s(self) -> float:
        """The time between two rejections."""
        least_s = CYCLE_NEWS * self.news_s
        if self.is_crowded:
            return max(CROWD_CYCLE_S, CROWD_CYCLE_TOKENS / self.rate, least_s)
        cycle_s = max(CYCLE_S, (CYCLE_TOKENS + CYCLE_EXTRA_TOKENS * (self.burst - 1)) / self.rate)
        if self.known < KNOWN_SURELY:
            unsure_s = (self.known + CYCLE_UNSURE_TOKENS) / self.rate
            cycle_s = min(
                cycle_s, unsure_s if self.known >= KNOWN_AT_ALL else min(unsure_s, CYCLE_BLIND_MAX_S)
            )
        return max(min(cycle_s, CYCLE_MAX_S), least_s)

    @property
    def cut(self) -> float:
        """The share of the rate that is taken back at a rejection."""
        tokens = self.rate * self.cycle_s
        if self.is_crowded:
            return min(CROWD_CUT_MAX, CROWD_CUT_TOKENS / tokens)
        cut = min(max(CUT_TOKENS / tokens, CUT_MIN), CUT_MAX)
        if self.known < KNOWN_SURELY:
            cut = max(cut, min(CUT_UNSURE_MAX, 1.5 / (self.known + 3)))
        return cut

    @property
    def quiet_s(self) -> float:
        """After so long without a rejection the limit is higher than the rate says."""
        cycle_s = self.cycle_s
        if self.is_crowded:
            return min(CROWD_QUIET_CYCLES * cycle_s, QUIET_MAX_S)
        # What was held back lies in the bucket, and is used up by what the rate is too high.
        used_up_s = cycle_s / 2 + math.sqrt(2 * (HOLD_TOKENS + 1) * cycle_s / (self.rate * self.cut))
        cycles = QUIET_CYCLES if self.known >= KNOWN_SURELY else QUIET_CYCLES_UNSURE
        most_s = QUIET_MAX_S if self.rate > QUIET_SLOW_PER_S else QUIET_SLOW_S
        return self.patience * min(used_up_s, cycles * cycle_s, most_s)

    @property
    def growth_per_s(self) -> float:
        """The relative growth in a cycle: what the cut takes."""
        return self.cut / self.cycle_s

    def probing_per_s(self, over_s: float) -> float:
        """The relative growth when it has been too quiet for ``over_s``."""
        unit_s = max(PROBE_CROWD_S if self.is_crowded else PROBE_S, PROBE_NEWS * self.news_s)
        return min(PROBE_FIRST * 2 ** min(over_s / unit_s, 10.0), PROBE_MOST) / unit_s

    def after_rejection(self) -> float:
        """Where to begin a cycle that shall end after ``cycle_s``, if the limit is ``rate``."""
        return self.rate * (1 - self.cut / 2) + HOLD_TOKENS / self.cycle_s
