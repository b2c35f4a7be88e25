"""Recognises that others send on the same key.

Alone, a rejection comes when one's own sending has emptied the bucket. A rejection that comes although tokens should be
left says that somebody else took them; a few in a row, without a lower limit that would explain them, mean a crowd.
"""

from __future__ import annotations

import math
from collections import deque

from elspeth_dagster.pooling.meter import LimitMeter

MARKS_MAX = 8
"""The rate is taken over so many rejections: enough to be exact, few enough to be of now."""

EARLY_TOKENS = 1.25
"""Counts between two empty buckets are exact but for one token."""

JITTER_S = 0.002
"""Requests arrive earlier or later than they were sent by about this."""

WEIGHT = 0.15
ENTERED, LEFT = 0.4, 0.1
"""The running share of early rejections above which there is a crowd, and below which there is none any more."""


class Crowd:
    """Judges each rejection that opens an epoch."""

    def __init__(self) -> None:
        self.is_there = False
        self._share = 0.0
        self._marks_s: deque[float] = deque(maxlen=MARKS_MAX)

    def forget_rate(self) -> None:
        """The limit has changed: what was counted so far explains nothing any more."""
        self._marks_s.clear()

    def disperse(self) -> None:
        """The limit has fallen, which explains the rejections that seemed early."""
        self.is_there, self._share = False, 0.0
        self.forget_rate()

    def judge(self, meter: LimitMeter, *, now_s: float, since_s: float, mark_s: float, rate: float) -> None:
        """A request sent at ``mark_s`` was rejected; the last rejection before it was of one sent at ``since_s``."""
        marks_s = self._marks_s
        marks_s.append(mark_s)
        span_s = marks_s[-2] - marks_s[0] if len(marks_s) > 1 else 0.0
        if span_s <= 0:
            return
        alone = meter.accepted_between(marks_s[0], marks_s[-2], now_s=now_s) / span_s
        left = alone * (mark_s - since_s) - meter.accepted_between(since_s, mark_s, now_s=now_s)
        is_early = left > EARLY_TOKENS + JITTER_S * rate + math.sqrt(rate * meter.spread_s)
        self._share += WEIGHT * (is_early - self._share)
        self.is_there = self._share > (LEFT if self.is_there else ENTERED)
