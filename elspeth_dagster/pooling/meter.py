"""Counts what a server accepted between two of its rejections.

When a token bucket answers 429 it is empty. So between two such answers it accepted exactly what flowed in, and
the count over the time between is its rate, whatever its size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

SENDS_MAX = 20_000
"""Remembered sends: minutes at any rate that one process reaches, and a count over so many is exact enough."""


class LimitMeter:
    """Remembers when requests were sent, and how they ended."""

    def __init__(self) -> None:
        self._sends_s: list[float] = []
        self._accepted_s: list[float] = []
        self._rejected_s: list[float] = []

    @property
    def first_s(self) -> float:
        """From when on the counts are complete."""
        return self._sends_s[0] if self._sends_s else 0.0

    def sent(self, now_s: float) -> None:
        """A request left; times must not decrease."""
        self._sends_s.append(now_s)
        if len(self._sends_s) >= 2 * SENDS_MAX:
            del self._sends_s[:SENDS_MAX]
            for ended_s in (self._accepted_s, self._rejected_s):
                del ended_s[: bisect_left(ended_s, self._sends_s[0])]

    def accepted(self, sent_s: float) -> None:
        """The request sent at ``sent_s`` found a token."""
        insort(self._accepted_s, sent_s)

    def rejected(self, sent_s: float) -> None:
        """The request sent at ``sent_s`` met an empty bucket."""
        insort(self._rejected_s, sent_s)

    def rejected_share(self, after_s: float, until_s: float) -> float:
        """The share of rejections among the requests sent in (``after_s``, ``until_s``] and answered."""
        rejected = _count(self._rejected_s, after_s, until_s)
        answered = rejected + _count(self._accepted_s, after_s, until_s)
        return rejected / answered if answered else 0.0

    def accepted_between(self, after_s: float, until_s: float) -> float:
        """How many sent in (``after_s``, ``until_s``] were accepted; those in flight count as the answered ones."""
        sends = _count(self._sends_s, after_s, until_s)
        return sends * (1 - self.rejected_share(after_s, until_s))


def _count(times_s: list[float], after_s: float, until_s: float) -> int:
    return bisect_right(times_s, until_s) - bisect_right(times_s, after_s)
