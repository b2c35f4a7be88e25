"""Counts what a server accepted between two of its rejections.

When a token bucket answers 429 it is empty. So between two such answers it accepted exactly what flowed in, and
the count over the time between is its rate, whatever its size. A rejection comes back sooner than an answer, so what
has been in flight for longer than rejections take was accepted, though nobody said so yet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

SENDS_MAX = 10_000
"""Remembered sends: seconds at any rate that one process reaches, and a count over so many is exact enough."""

LATENCY_WEIGHT = 0.1
"""Weight of one answer in the running mean of the latency."""

REJECTION_WEIGHT, REJECTION_WEIGHT_MORE = 0.25, 0.05
"""The same for a rejection, and for those that come in its wake: a wave that met a cold client is soon forgotten."""

NOTICE_S = 0.005
"""A rejection may lie unread for so long before the loop comes to it."""


class LimitMeter:
    """Remembers when requests were sent, how they ended, and how long that took."""

    def __init__(self) -> None:
        self._sends_s: list[float] = []
        self._accepted_s: list[float] = []
        self._rejected_s: list[float] = []
        self._rejection_s: float | None = None
        self._rejection_spread_s = 0.0
        self.latency_s = 0.0
        self.spread_s = 0.0

    @property
    def news_s(self) -> float:
        """What is in flight for longer was accepted, most likely: rejections take no longer."""
        known_s = self.latency_s if self._rejection_s is None else self._rejection_s
        return known_s + self._rejection_spread_s + NOTICE_S

    def sent(self, now_s: float) -> None:
        """A request left; times must not decrease."""
        self._sends_s.append(now_s)
        if len(self._sends_s) >= 2 * SENDS_MAX:
            del self._sends_s[:SENDS_MAX]
            for ended_s in (self._accepted_s, self._rejected_s):
                del ended_s[: bisect_left(ended_s, self._sends_s[0])]

    def accepted(self, sent_s: float, *, now_s: float | None = None) -> None:
        """The request sent at ``sent_s`` found a token; ``now_s``: its answer came, and says how long answers take."""
        insort(self._accepted_s, sent_s)
        if now_s is None:
            return
        if self.latency_s == 0.0:
            self.latency_s = now_s - sent_s
        off_s = now_s - sent_s - self.latency_s
        self.latency_s += LATENCY_WEIGHT * off_s
        self.spread_s += LATENCY_WEIGHT * (abs(off_s) - self.spread_s)

    def rejected(self, sent_s: float, *, now_s: float, is_first: bool = True) -> None:
        """The request sent at ``sent_s`` met an empty bucket; ``is_first``: and no other that belongs to it before."""
        insort(self._rejected_s, sent_s)
        took_s = now_s - sent_s
        if self._rejection_s is None:
            self._rejection_s = took_s
        weight = REJECTION_WEIGHT if is_first else REJECTION_WEIGHT_MORE
        off_s = took_s - self._rejection_s
        self._rejection_s += weight * off_s
        self._rejection_spread_s += weight * (abs(off_s) - self._rejection_spread_s)

    def rejected_between(self, after_s: float, until_s: float) -> int:
        """How many sent in (``after_s``, ``until_s``] are known to have been rejected."""
        return _count(self._rejected_s, after_s, until_s)

    def accepted_between(self, after_s: float, until_s: float, *, now_s: float) -> float:
        """How many sent in (``after_s``, ``until_s``] were accepted; the undecided count as the others."""
        sends = _count(self._sends_s, after_s, until_s)
        rejected = _count(self._rejected_s, after_s, until_s)
        undecided = self._undecided(after_s, until_s, now_s)
        # Laplace's rule of succession: one decided request says little about the others.
        share = (rejected + 1) / (sends - undecided + 2)
        return sends - rejected - undecided * share

    def is_decided(self, after_s: float, until_s: float, *, now_s: float) -> bool:
        """Whether the fate of most that were sent in (``after_s``, ``until_s``] is known."""
        return 2 * self._undecided(after_s, until_s, now_s) <= _count(self._sends_s, after_s, until_s)

    def _undecided(self, after_s: float, until_s: float, now_s: float) -> int:
        young_after_s = max(after_s, now_s - self.news_s)
        sends = _count(self._sends_s, young_after_s, until_s)
        accepted = _count(self._accepted_s, young_after_s, until_s)
        return max(0, sends - accepted - _count(self._rejected_s, young_after_s, until_s))


def _count(times_s: list[float], after_s: float, until_s: float) -> int:
    return max(0, bisect_right(times_s, until_s) - bisect_right(times_s, after_s))
