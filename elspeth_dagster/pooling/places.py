"""Recognises a limit on how many requests are in flight, and keeps just within it.

Where a rate is limited, rejected requests leave with as many others in flight as accepted ones do. Where places are
limited, nearly every rejected one leaves with more than nearly all accepted ones. So each rejection is ranked among
the accepted; ranks that are low again and again are no chance.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import chain
from statistics import mean, median

REMEMBERED = 20_000
"""Requests in flight beyond so many are forgotten, the oldest first."""

LATENCIES = 3.0
"""Rejections nearer than this are not independent: the same requests are in flight."""

ACCEPTED_MIN, ACCEPTED_MAX = 15, 500
"""A rank among fewer accepted requests says little; among the last so many it is exact enough."""

EPOCHS, RANK = 12, 0.15
"""The mean rank of so many rejections must be as low. By chance that is once in 400,000 times."""

UNUSED = 0.1
"""As large a share of the places must mostly be empty: else a pace takes them as well, and ranks low at its peaks."""

LEAST = 4
"""At fewer in flight every rank is a matter of chance."""

TRIED_AFTER = 50
"""After so many accepted with all places taken, more are tried: about one call in fifty is rejected."""

LEFT, LEFT_PLACES = 0.75, 2
"""If rejections drive the places below this share of what was there, and by so many more, it is something else ..."""

LEFT_REJECTIONS, LEFT_ACCEPTED = 3.0, 15
"""... and also if so many are rejected, each but those that come with so many accepted."""


class Places:
    """``cap``: how many may be in flight; None while the limit is none on places, for all that is known."""

    def __init__(self) -> None:
        self.cap: int | None = None
        self._left_with: dict[
            float, list[int]
        ] = {}  # by the time they left: how many were in flight before them
        self._accepted: deque[int] = deque(maxlen=ACCEPTED_MAX)  # ... before the accepted since the last rank
        self._ranked: deque[tuple[int, list[int]]] = deque(maxlen=EPOCHS)  # ... before rejected, and accepted
        self._ranked_s = self._marked_s = -math.inf
        self._held, self._step, self._at_cap, self._trouble = 0, 1, 0, 0.0

    def sent(self, now_s: float, in_flight: int) -> None:
        """A request left while ``in_flight`` others were in flight."""
        self._left_with.setdefault(now_s, []).append(in_flight)
        if len(self._left_with) > REMEMBERED:
            del self._left_with[next(iter(self._left_with))]

    def accepted(self, sent_s: float) -> None:
        """The request sent at ``sent_s`` was accepted; if all places were taken for long, try more."""
        others = self.forget(sent_s)
        if others is None:
            return
        self._trouble = max(0.0, self._trouble - 1 / LEFT_ACCEPTED)
        if self.cap is None:
            self._accepted.append(others)
        elif others + 1 >= self.cap:
            self._at_cap += 1
            if self._at_cap >= TRIED_AFTER:
                self._step = 2 * self._step if self.cap > self._held else 1
                self._held, self._at_cap = self.cap, 0
                self.cap += self._step

    def rejected(self, sent_s: float, *, now_s: float, latency_s: float) -> None:
        """The request sent at ``sent_s`` was rejected; unless it left before the last reaction, that tells something.

        Answers take ``latency_s``.
        """
        others = self.forget(sent_s)
        if others is None or sent_s <= self._marked_s:
            return
        self._marked_s = now_s
        if self.cap is not None:
            self._fall(self.cap, others)
        elif sent_s >= self._ranked_s + LATENCIES * latency_s and len(self._accepted) >= ACCEPTED_MIN:
            self._ranked_s = sent_s
            self._ranked.append((others, list(self._accepted)))
            self._accepted.clear()
            self._judge()

    def forget(self, sent_s: float) -> int | None:
        """The request sent at ``sent_s`` is over; how many others were in flight when it left."""
        counts = self._left_with.get(sent_s)
        if counts is None:
            return None
        others = counts.pop()
        if not counts:
            del self._left_with[sent_s]
        return others

    def _judge(self) -> None:
        """Rank among all accepted and among those next to each rejection: numbers that only drift are low in one."""
        if len(self._ranked) < EPOCHS or mean(_rank(*one) for one in self._ranked) > RANK:
            return
        everyone = list(chain.from_iterable(accepted for _, accepted in self._ranked))
        cap = sorted(others for others, _ in self._ranked)[EPOCHS // 4]
        if mean(_rank(others, everyone) for others, _ in self._ranked) > RANK:
            return
        if cap >= LEAST and median(everyone) + 1 <= (1 - UNUSED) * cap:
            self.cap = self._held = cap
            self._step, self._at_cap, self._trouble = 1, 0, 0.0

    def _fall(self, cap: int, others: int) -> None:
        """Back to what held; below that, one by one."""
        self.cap = min(cap, self._held if others >= self._held else max(others, 1))
        self._step, self._at_cap = 1, 0
        self._trouble += 1
        if self.cap < LEFT * self._held - LEFT_PLACES or self._trouble > LEFT_REJECTIONS:
            self.cap = None
            self._ranked.clear()
            self._accepted.clear()


def _rank(others: int, accepted: list[int]) -> float:
    """The share of the accepted that left with as many in flight."""
    return sum(count >= others for count in accepted) / len(accepted)
