"""Percentiles of any number of measurements in bounded memory: logarithmic buckets, 2% wide."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_GROWTH: Final = math.log(1.02)
_SMALLEST: Final = 1e-3  # a microsecond, in milliseconds: nothing here is measured finer


class Histogram:
    """Counts measurements by size; a percentile is exact to 2%."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, value: float) -> None:
        """Count one measurement, in any unit."""
        bucket = 0 if value <= _SMALLEST else 1 + int(math.log(value / _SMALLEST) / _GROWTH)
        self._buckets[bucket] += 1
        self.count += 1

    def percentile(self, share: float) -> float | None:
        """The value that ``share`` (0 to 1) of the measurements do not exceed; None if there are none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return _round(0.0 if bucket == 0 else _SMALLEST * math.exp((bucket - 0.5) * _GROWTH))
        raise AssertionError  # the ranks end with the count


def _round(value: float) -> float:
    return float(f"{value:.3g}")
