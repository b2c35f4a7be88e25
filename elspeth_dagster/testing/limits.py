"""The two limits of a model's API, and how a 429 and its headers speak of them."""

from __future__ import annotations

import email.utils
import math
import time

from elspeth_dagster.testing.bucket import TokenBucket
from elspeth_dagster.testing.settings import FakeModelSettings, RetryAfter

ANNOUNCED_WINDOW_S = 60
"""OpenAI announces requests per minute. Limit per window, and (limit - remaining) / reset, both give the rate."""

RETRY_AFTER_MAX_S = 60.0
"""The longest wait a 429 asks for, for ever included."""

HINT_S = 1.0
"""What a 503, a 529 or an injected 429 asks for: there is no bucket to say it better."""


class Limits:
    """Admits requests, or says how long to wait. Owned by the server's loop: not for several threads."""

    def __init__(self, settings: FakeModelSettings) -> None:
        self._settings = settings
        self._bucket: TokenBucket | None = None
        self.reset()

    def reset(self) -> None:
        """A full bucket, and the first step of the rate again."""
        chosen = self._settings
        if chosen.rate_per_s is not None:
            self._bucket = TokenBucket(
                rate_per_s=chosen.rate_per_s,
                burst=chosen.burst,
                steps=chosen.rate_steps,
                charge_rejected=chosen.charge_rejected,
            )

    def admit(self, now_s: float, *, in_flight: int) -> float:
        """0.0: go on. Else the seconds after which trying again makes sense."""
        concurrency_max = self._settings.concurrency_max
        if concurrency_max is not None and in_flight >= concurrency_max:
            return max(self._settings.latency_ms, 1.0) / 1000
        return 0.0 if self._bucket is None else self._bucket.take(now_s)

    def announcement(self) -> bytes:
        """The ``x-ratelimit-*`` header lines, or nothing."""
        bucket = self._bucket
        if bucket is None or not self._settings.announce_headers:
            return b""
        limit = round(bucket.rate_per_s * ANNOUNCED_WINDOW_S)
        missing = bucket.missing
        reset_s = (
            min(missing / bucket.rate_per_s, ANNOUNCED_WINDOW_S) if bucket.rate_per_s else ANNOUNCED_WINDOW_S
        )
        return (
            b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
            b"x-ratelimit-reset-requests: %b\r\n"
        ) % (limit, max(0, limit - missing), _duration(reset_s))

    def retry_after(self, wait_s: float) -> bytes:
        """The header line that asks for this wait, in the chosen way, or nothing."""
        wait_s = min(wait_s, RETRY_AFTER_MAX_S)
        way = self._settings.retry_after
        if way is RetryAfter.SECONDS:
            return b"retry-after: %d\r\n" % math.ceil(wait_s)
        if way is RetryAfter.MS:
            return b"retry-after-ms: %d\r\n" % math.ceil(wait_s * 1000)
        if way is RetryAfter.DATE:
            date = email.utils.formatdate(math.ceil(time.time() + wait_s), usegmt=True)
            return b"retry-after: %b\r\n" % date.encode()
        return b""


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it: ``6ms``, ``1.5s``, ``1m0s``."""
    ms = round(seconds * 1000, 3)
    if ms < 1000:  # noqa: PLR2004 - a second
        return b"%gms" % ms
    minutes, rest = divmod(ms / 1000, 60)
    return (b"%dm" % minutes if minutes else b"") + b"%gs" % round(rest, 3)
