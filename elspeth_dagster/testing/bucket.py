"""A token bucket without a clock: the caller says what time it is, so that tests own time.

The bucket starts full. Its rate may change at given moments, counted from the first request; what flowed in before
such a moment flowed at the old rate, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

DEBT_MAX_S = 10.0
"""Where rejected requests are charged, their debt ends here: a client that hammered recovers when it stops."""

_EXACT = 1e-9
"""A token that is this nearly there is there: sums of floats miss whole numbers by less."""


class TokenBucket:
    """Lets ``rate_per_s`` requests a second pass, and ``burst`` at once."""

    def __init__(
        self,
        *,
        rate_per_s: float,
        burst: float,
        steps: Sequence[tuple[float, float]] = (),
        charge_rejected: bool = False,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._steps = list(steps)
        self._charge_rejected = charge_rejected
        self._tokens = float(burst)
        self._first_s: float | None = None
        self._filled_s = 0.0

    @property
    def rate_per_s(self) -> float:
        """The rate now."""
        return self._rate_per_s

    @property
    def missing(self) -> int:
        """Whole tokens that would fit in, partly used ones included."""
        return math.ceil(self._burst - self._tokens - _EXACT)

    def take(self, now_s: float) -> float:
        """Take one token. Returns 0.0 when there was one, else the seconds until there is (``inf`` at rate 0)."""
        self._fill(now_s)
        if self._tokens >= 1 - _EXACT:
            self._tokens -= 1
            return 0.0
        if self._charge_rejected:
            self._tokens = max(self._tokens - 1, -self._rate_per_s * DEBT_MAX_S)
        return (1 - self._tokens) / self._rate_per_s if self._rate_per_s else math.inf

    def _fill(self, now_s: float) -> None:
        if self._first_s is None:
            self._first_s = self._filled_s = now_s
        while self._steps and now_s >= self._first_s + self._steps[0][0]:
            after_s, rate_per_s = self._steps.pop(0)
            self._flow(self._first_s + after_s)
            self._rate_per_s = rate_per_s
        self._flow(now_s)

    def _flow(self, until_s: float) -> None:
        elapsed_s = max(0.0, until_s - self._filled_s)
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate_per_s)
        self._filled_s = max(self._filled_s, until_s)
