"""The servers of the simulation: what a provider's limit does with a request that arrives at a given time.

Nothing here knows of clients or latencies. Times are seconds from the start and never decrease.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

ANNOUNCED_WINDOW_S = 60
"""Limits are announced per minute, as OpenAI does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says to one request."""

    accepted: bool
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Server(Protocol):
    """A limit, from time 0 on."""

    def answer(self, now: float) -> Answer:
        """Decide about a request that arrives now."""
        ...

    def left(self, now: float) -> None:
        """An accepted request is done."""
        ...

    def capacity(self, since: float, until: float) -> float:
        """How many requests it could have accepted in that time, of which ``since`` is the first request's."""
        ...


class Flow(Protocol):
    """Tokens per second over time."""

    def rate(self, at: float) -> float:
        """The rate at one instant."""
        ...

    def total(self, until: float) -> float:
        """All that flowed by then."""
        ...


class Steps:
    """``steps`` are (from when, tokens per second), the first from 0."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        self._since = [since for since, _ in steps]
        self._rates = [rate for _, rate in steps]
        lengths = [after - before for before, after in itertools.pairwise(self._since)]
        parts = [rate * length for rate, length in zip(self._rates, lengths, strict=False)]
        self._totals = [0.0, *itertools.accumulate(parts)]

    def rate(self, at: float) -> float:
        """The rate of the step that holds at that time."""
        return self._rates[bisect.bisect_right(self._since, at) - 1]

    def total(self, until: float) -> float:
        """All that flowed by then."""
        step = bisect.bisect_right(self._since, until) - 1
        return self._totals[step] + self._rates[step] * (until - self._since[step])


class TokenBucket:
    """The usual limit. ``whole_s``: it says when to come back, rounded up to whole seconds.

    ``charges``: a rejection costs a token, too; the level falls to no less than ``-debt_max``.
    ``announces``: every answer carries the ``x-ratelimit-*-requests`` headers, of which ``limit`` is per minute; they
    say so many times what is true.
    """

    def __init__(
        self,
        flow: Flow,
        *,
        burst: float,
        charges: bool = False,
        debt_max: float = 0.0,
        whole_s: bool = False,
        announces: bool = False,
        exaggerates: float = 1.0,
    ) -> None:
        self._flow, self._burst, self._level, self._flowed = flow, burst, burst, 0.0
        self._charges, self._debt_max = charges, debt_max
        self._whole_s, self._announces = whole_s, announces
        self._exaggerates = exaggerates

    def answer(self, now: float) -> Answer:
        """Take a token, if there is a whole one."""
        flowed = self._flow.total(now)
        self._level = min(self._burst, self._level + flowed - self._flowed)
        self._flowed = flowed
        if self._level >= 1:
            self._level -= 1
            return Answer(accepted=True, headers=self._headers(now))
        if self._charges:
            self._level = max(self._level - 1, -self._debt_max)
        wait_s = (1 - self._level) / self._flow.rate(now)
        asks_s = float(math.ceil(wait_s)) if self._whole_s else None
        return Answer(accepted=False, retry_after_s=asks_s, headers=self._headers(now))

    def left(self, now: float) -> None:
        """A rate does not care."""

    def capacity(self, since: float, until: float) -> float:
        """What flowed, and the bucket that was full at the start."""
        return self._flow.total(until) - self._flow.total(since) + self._burst

    def _headers(self, now: float) -> Mapping[str, str]:
        if not self._announces:
            return {}
        rate, missing = self._flow.rate(now) * self._exaggerates, self._burst - self._level
        limit = round(rate * ANNOUNCED_WINDOW_S)
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(int(max(0.0, limit - missing))),
            "x-ratelimit-reset-requests": f"{missing / rate * 1000:.3f}ms",
        }


class AtOnce:
    """No limit on the rate, but on how many requests are worked on at the same time, ``held_s`` each on the mean."""

    def __init__(self, places: int, *, held_s: float) -> None:
        self._places, self._held_s, self._taken = places, held_s, 0

    def answer(self, now: float) -> Answer:  # noqa: ARG002 - time does not matter
        """Take a place, if one is free."""
        if self._taken >= self._places:
            return Answer(accepted=False)
        self._taken += 1
        return Answer(accepted=True)

    def left(self, now: float) -> None:  # noqa: ARG002 - time does not matter
        """Give the place back."""
        self._taken -= 1

    def capacity(self, since: float, until: float) -> float:
        """All places taken all the time."""
        return self._places * (until - since) / self._held_s


class Outage:
    """Nothing but 429 until ``bad_s``, then half of them until ``shaky_s``, then ``free`` requests a second."""

    def __init__(self, *, bad_s: float, shaky_s: float, free: float, seed: int = 7) -> None:
        self._bad_s, self._shaky_s, self._free = bad_s, shaky_s, free
        self._chance = random.Random(seed)  # noqa: S311 - a simulation

    def answer(self, now: float) -> Answer:
        """By the clock, and in the shaky time by chance; then the pool is the limit."""
        return Answer(accepted=now >= self._shaky_s or (now >= self._bad_s and self._chance.random() < 1 / 2))

    def left(self, now: float) -> None:
        """An outage does not care."""

    def capacity(self, since: float, until: float) -> float:
        """What the pool can do once it is over."""
        return self._free * max(0.0, until - max(since, self._shaky_s))
