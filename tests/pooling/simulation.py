"""A discrete-event simulation of controllers and a rate-limited server: minutes of traffic in milliseconds.

Work is always queued, so only the controllers and the pools' sizes decide what is sent.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from elspeth_dagster.pooling import Controller


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to one request."""

    accepted: bool
    retry_after: float | None = None


class Server(Protocol):
    """A limit. ``capacity(until)`` is how many requests it could have accepted by then."""

    def answer(self, now: float) -> Answer: ...

    def finished(self, now: float) -> None: ...

    def capacity(self, until: float) -> float: ...


class TokenBucket:
    """``rates``: (from when, tokens per second), the first from 0. ``charges``: a rejection costs a token, too."""

    def __init__(
        self,
        rates: Sequence[tuple[float, float]],
        *,
        burst: float,
        charges: bool = False,
        whole_s: bool = False,
    ) -> None:
        self.rates, self.burst, self.charges, self.whole_s = rates, burst, charges, whole_s
        self.level, self.at = burst, 0.0

    def answer(self, now: float) -> Answer:
        self.level = min(self.burst, self.level + self._flow(now) - self._flow(self.at))
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return Answer(accepted=True)
        if self.charges:
            self.level = max(self.level - 1, 0.0)
        wait_s = (1 - self.level) / self._rate(now)
        return Answer(accepted=False, retry_after=float(math.ceil(wait_s)) if self.whole_s else None)

    def finished(self, now: float) -> None:
        """A rate does not care."""

    def capacity(self, until: float) -> float:
        return self._flow(until) + self.burst

    def _rate(self, now: float) -> float:
        return [rate for since, rate in self.rates if since <= now][-1]

    def _flow(self, until: float) -> float:
        ends = [since for since, _ in self.rates[1:]] + [math.inf]
        return sum(
            rate * max(0.0, min(until, end) - since)
            for (since, rate), end in zip(self.rates, ends, strict=True)
        )


class Outage:
    """Nothing but 429 until ``bad_s``, then half of them until ``shaky_s``, then no limit but ``free`` per second."""

    def __init__(self, *, bad_s: float, shaky_s: float, free: float) -> None:
        self.bad_s, self.shaky_s, self.free = bad_s, shaky_s, free
        self.accepted_s: list[float] = []
        self._chance = random.Random(7)  # noqa: S311 - a simulation

    def answer(self, now: float) -> Answer:
        accepted = now >= self.shaky_s or (now >= self.bad_s and self._chance.random() < 0.5)
        if accepted:
            self.accepted_s.append(now)
        return Answer(accepted=accepted)

    def finished(self, now: float) -> None:
        """An outage does not care."""

    def capacity(self, until: float) -> float:
        return self.free * (until - self.shaky_s)


@dataclass(slots=True)
class Outcome:
    """What came of a simulation."""

    accepted: list[int]
    rejected: int
    capacity: float

    @property
    def efficiency(self) -> float:
        return sum(self.accepted) / self.capacity

    @property
    def waste(self) -> float:
        return self.rejected / (sum(self.accepted) + self.rejected)

    @property
    def fairness(self) -> float:
        """Jain's index."""
        return sum(self.accepted) ** 2 / (len(self.accepted) * sum(n * n for n in self.accepted))


def constant(seconds: float) -> Callable[[random.Random], float]:
    return lambda _: seconds


def lognormal(median_s: float, sigma: float) -> Callable[[random.Random], float]:
    return lambda chance: chance.lognormvariate(math.log(median_s), sigma)


def simulate(
    controllers: Sequence[Controller],
    server: Server,
    *,
    latency: Callable[[random.Random], float],
    pool_size: int,
    until_s: float,
    seed: int = 1,
) -> Outcome:
    """Let every controller send for ``until_s`` seconds; requests reach the server after half their latency."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    order = itertools.count()
    events: list[tuple[float, int, Callable[[float], None]]] = []
    in_flight = [0] * len(controllers)
    wake_at = [math.inf] * len(controllers)
    outcome = Outcome([0] * len(controllers), 0, server.capacity(until_s))

    def at(when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(events, (when, next(order), what))

    def pump(who: int, now: float) -> None:
        controller = controllers[who]
        while in_flight[who] < pool_size:
            wait_s = controller.next_send(now, in_flight[who])
            if wait_s is None:
                return
            if wait_s > 1e-12:
                if not now < wake_at[who] <= now + wait_s:
                    wake_at[who] = now + wait_s
                    at(now + wait_s, lambda then: pump(who, then))
                return
            controller.sent(now)
            in_flight[who] += 1
            took_s = latency(chance)
            at(now + took_s / 2, lambda then, sent=now, took=took_s: reach(who, then, sent, took))  # type: ignore[misc]

    def reach(who: int, now: float, sent: float, took_s: float) -> None:
        answer = server.answer(now)
        at(now + took_s / 2, lambda then: back(who, then, sent, answer))

    def back(who: int, now: float, sent: float, answer: Answer) -> None:
        server.finished(now)
        in_flight[who] -= 1
        if answer.accepted:
            outcome.accepted[who] += 1
            controllers[who].succeeded(now, sent, {})
        else:
            outcome.rejected += 1
            controllers[who].rejected(now, sent, answer.retry_after, {})
        pump(who, now)

    for who in range(len(controllers)):
        at(0.0, lambda then, who=who: pump(who, then))  # type: ignore[misc]
    while events and events[0][0] <= until_s:
        now, _, what = heapq.heappop(events)
        what(now)
    return outcome
