"""A pace for who knows the limit: the server's own bucket, or its places, kept on the client's side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

BURST_SPARE = 1.0
"""Tokens left in the server's bucket: requests arrive a little earlier or later than they were sent."""


class Oracle:
    """``rates`` are (seconds after the first request, tokens a second); without them only ``places`` bounds it."""

    slows_down = True

    def __init__(self, rates: Sequence[tuple[float, float]], *, burst: float, places: int | None) -> None:
        self._rates = rates
        self._burst = max(1.0, burst - BURST_SPARE)
        self._tokens = self._burst
        self._places = places
        self._first_s = 0.0
        self._filled_s: float | None = None

    @property
    def delay_ms(self) -> float:
        """The delay between two dispatches now."""
        rate = self._rate(self._filled_s or 0.0)
        return 1000 / rate if math.isfinite(rate) else 0.0

    def next_send(self, now: float, in_flight: int) -> float | None:
        """Seconds until there is a token; None while all places are taken."""
        if self._places is not None and in_flight >= self._places:
            return None
        self._fill(now)
        return max(0.0, 1 - self._tokens) / self._rate(now)

    def sent(self, now: float) -> None:
        """Take a token."""
        if self._filled_s is None:
            self._first_s = self._filled_s = now
        self._tokens -= 1

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """It knew."""

    def rejected(
        self,
        now: float,  # noqa: ARG002 - whatever it says, the limit is known
        sent_at: float,  # noqa: ARG002
        retry_after: float | None,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
    ) -> None:
        """The server's bucket was empty a moment early, and may have been charged: let it have one more."""
        self._tokens = min(self._tokens, 0.0) - 1

    def dropped(self, now: float, sent_at: float) -> None:
        """Nothing to learn."""

    def _fill(self, now: float) -> None:
        if self._filled_s is None:
            return
        flowed = (now - self._filled_s) * self._rate(now)
        self._tokens = min(self._burst, self._tokens + flowed) if math.isfinite(flowed) else self._burst
        self._filled_s = now

    def _rate(self, now: float) -> float:
        ago_s = now - self._first_s if self._filled_s is not None else 0.0
        return next((rate for after_s, rate in reversed(self._rates) if after_s <= ago_s), math.inf)
