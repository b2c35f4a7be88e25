"""Which rejections belong together: an epoch begins with one of a request that was sent after the last reaction.

The others of an epoch were sent before the reaction could help, so they say nothing about it; they are counted.
"""

from __future__ import annotations

import math

from elspeth_dagster.pooling.meter import LimitMeter

DENSE_TOKENS, DENSE_NEWS = 20.0, 3.0
"""Epochs nearer than the time of so many requests, or of so many rejections' way back, are trouble: a lower limit?"""

BURST_MAX = 20
BURST_WEIGHT_UP, BURST_WEIGHT_DOWN = 0.5, 0.25
"""How the running mean of the rejections that one edge costs follows."""


class Epochs:
    """Keeps the marks: when the requests were sent that were rejected. ``reacted_s`` is when the pool last reacted.

    ``newest_s`` is the youngest request known to be rejected, ``ended_s`` the one before it; ``trouble_s`` the mark
    that opened the first of ``troubles`` epochs close together. ``streak`` counts reactions that did not help,
    ``burst`` the rejections of the present epoch.
    """

    def __init__(self, meter: LimitMeter) -> None:
        self._meter = meter
        self.reacted_s = -math.inf
        self.newest_s = self.ended_s = -math.inf
        self.trouble_s, self.troubles = -math.inf, 0
        self.streak = 0
        self.burst_mean = 1.0
        self.burst, self._is_calm = 0, False
        self._mark_s = -math.inf
        self._resumed_s: float | None = None  # the first request after the last reaction ...
        self._is_through = False  # ... and whether one since then was accepted

    def sent(self, now_s: float) -> None:
        """A request left."""
        if self._resumed_s is None:
            self._resumed_s = now_s

    def accepted(self, sent_s: float) -> None:
        """The request sent at ``sent_s`` was accepted."""
        self._is_through = self._is_through or sent_s > self.reacted_s

    def came_through(self, now_s: float) -> bool:
        """Whether a request was accepted since the last reaction; no news for long enough says so, too."""
        if not self._is_through and self._resumed_s is not None:
            self._is_through = now_s - self._resumed_s > self._meter.news_s
        return self._is_through

    def rejected(self, sent_s: float, *, now_s: float) -> bool:
        """The request sent at ``sent_s`` was rejected; whether that opens an epoch."""
        opens = sent_s > self.reacted_s
        self._meter.rejected(sent_s, now_s=now_s, is_first=opens)
        self.ended_s, self.newest_s = self.newest_s, max(self.newest_s, sent_s)
        self.burst += 1
        return opens

    def open(self, sent_s: float, *, now_s: float, rate: float, is_calm: bool) -> None:
        """Begin an epoch; ``is_calm``: its edge was met at little more than a known rate, so its cost is typical."""
        is_dense = sent_s - self._mark_s < max(DENSE_TOKENS / rate, DENSE_NEWS * self._meter.news_s)
        if self._is_calm and not is_dense:
            more = min(self.burst - 1, BURST_MAX) - self.burst_mean
            self.burst_mean += more * (BURST_WEIGHT_UP if more > 0 else BURST_WEIGHT_DOWN)
        self.burst, self._is_calm = 1, is_calm
        if not is_dense:
            self.trouble_s, self.troubles = sent_s, 0
        self.troubles += 1
        was_through = self.came_through(now_s) and (self._resumed_s is None or sent_s > self._resumed_s)
        self.streak = 0 if was_through else self.streak + 1
        self._mark_s = sent_s

    def begin(self, sent_s: float) -> None:
        """The first rejection of all."""
        self.trouble_s, self.troubles, self.burst, self._mark_s = sent_s, 1, 1, sent_s

    def reacted(self, now_s: float) -> None:
        """The pool reacts now; what was sent before says nothing about it."""
        self.reacted_s = now_s
        self._resumed_s, self._is_through = None, False

    def explain_by_fall(self) -> None:
        """The limit fell: what this epoch cost is not typical."""
        self._is_calm = False
