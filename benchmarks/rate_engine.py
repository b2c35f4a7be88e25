"""A discrete-event simulation of paced clients and one limited server: minutes of traffic in milliseconds.

Work is always queued, so only the controllers and the pools' sizes decide what is sent. Everything random is seeded.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.rate_servers import Answer, Server

Latency = Callable[[random.Random], float]

WAKE_EARLY_S = 1e-9
"""Waits shorter than this are over: sums of floats are not exact."""


class Paced(Protocol):
    """What the simulation needs of a controller; every ``elspeth_dagster.pooling.Controller`` has it."""

    def next_send(self, now: float, in_flight: int) -> float | None:
        """Seconds to wait, or None: not while so many are in flight."""
        ...

    def sent(self, now: float) -> None:
        """A request leaves."""
        ...

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None:
        """It was accepted."""
        ...

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None:
        """It was not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who sends, for how long, and how long requests take.

    ``decides_after`` is the share of a request's latency that passes before the server decides, and the share that
    passes after a place is given back; ``rejection_s`` is the latency of a 429, None: the same as of an answer.
    ``joins_s`` are the times at which the clients begin, 0 for those not named.
    """

    latency: Latency
    pool_size: int
    until_s: float = 60.0
    seed: int = 1
    decides_after: float = 0.5
    rejection_s: float | None = None
    joins_s: Sequence[float] = ()


@dataclass(slots=True)
class Client:
    """One controller with its pool, and what came of it."""

    controller: Paced
    in_flight: int = 0
    wake_s: float = math.inf
    sends: int = 0
    accepted_s: list[float] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulation: when each client's requests were answered, and what the server could have done."""

    clients: Sequence[Client]
    capacity: float

    @property
    def accepted(self) -> list[int]:
        """How many each client got through."""
        return [len(client.accepted_s) for client in self.clients]

    @property
    def rejected(self) -> int:
        """All rejections together."""
        return sum(len(client.rejected_s) for client in self.clients)

    @property
    def efficiency(self) -> float:
        """Accepted requests over what the server could have accepted."""
        return sum(self.accepted) / self.capacity

    @property
    def waste(self) -> float:
        """The share of calls that were rejected."""
        return self.rejected / max(1, sum(self.accepted) + self.rejected)

    @property
    def fairness(self) -> float:
        """Jain's index: (sum x)^2 / (n sum x^2), 1 when all have the same."""
        squares = sum(count * count for count in self.accepted)
        return sum(self.accepted) ** 2 / (len(self.clients) * squares) if squares else 0.0

    def accepted_between(self, from_s: float, until_s: float) -> int:
        """How many answers came in that time."""
        return sum(from_s <= at_s < until_s for client in self.clients for at_s in client.accepted_s)


def simulate(controllers: Sequence[Paced], server: Server, setting: Setting) -> Outcome:
    """Let every controller send until ``setting.until_s``; the same arguments give the same outcome."""
    return _Run(controllers, server, setting).run()


def constant(seconds: float) -> Latency:
    """Every request takes the same time."""
    return lambda _: seconds


def lognormal(median_s: float, sigma: float) -> Latency:
    """As answers of models do: most near the median, a few much later."""
    return lambda chance: chance.lognormvariate(math.log(median_s), sigma)


def mean_latency_s(latency: Latency, *, samples: int = 4000) -> float:
    """The mean, over the same samples each time."""
    chance = random.Random(0)  # noqa: S311 - a simulation
    return sum(latency(chance) for _ in range(samples)) / samples


class _Run:
    def __init__(self, controllers: Sequence[Paced], server: Server, setting: Setting) -> None:
        self._clients = [Client(controller) for controller in controllers]
        self._server = server
        self._setting = setting
        self._chance = random.Random(setting.seed)  # noqa: S311 - a simulation
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []

    def run(self) -> Outcome:
        joins_s = itertools.chain(self._setting.joins_s, itertools.repeat(0.0))
        for client, join_s in zip(self._clients, joins_s, strict=False):
            self._at(join_s, lambda now, client=client: self._pump(client, now))  # type: ignore[misc]
        while self._events and self._events[0][0] <= self._setting.until_s:
            now, _, what = heapq.heappop(self._events)
            what(now)
        held = 1 - 2 * self._setting.decides_after  # a place is taken for so much of the latency
        latency_s = mean_latency_s(self._setting.latency) * (held or 1.0)
        capacity = self._server.capacity(self._setting.until_s, latency_s=latency_s)
        return Outcome(self._clients, capacity)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def _pump(self, client: Client, now: float) -> None:
        while client.in_flight < self._setting.pool_size:
            wait_s = client.controller.next_send(now, client.in_flight)
            if wait_s is None:
                return
            if wait_s > WAKE_EARLY_S:
                if not now < client.wake_s <= now + wait_s:
                    client.wake_s = now + wait_s
                    self._at(client.wake_s, lambda then: self._pump(client, then))
                return
            self._send(client, now)

    def _send(self, client: Client, now: float) -> None:
        client.controller.sent(now)
        client.in_flight += 1
        client.sends += 1
        took_s = self._setting.latency(self._chance)
        self._at(
            now + took_s * self._setting.decides_after, lambda then: self._arrive(client, then, now, took_s)
        )

    def _arrive(self, client: Client, now: float, sent_s: float, took_s: float) -> None:
        answer = self._server.answer(now)
        if answer.accepted:
            leaves_s = max(now, sent_s + took_s * (1 - self._setting.decides_after))
            self._at(leaves_s, self._server.left)
        elif self._setting.rejection_s is not None:
            took_s = max(now - sent_s, self._setting.rejection_s)
        self._at(sent_s + took_s, lambda then: self._back(client, then, sent_s, answer))

    def _back(self, client: Client, now: float, sent_s: float, answer: Answer) -> None:
        client.in_flight -= 1
        if answer.accepted:
            client.accepted_s.append(now)
            client.controller.succeeded(now, sent_s, answer.headers)
        else:
            client.rejected_s.append(now)
            client.controller.rejected(now, sent_s, answer.retry_after_s, answer.headers)
        self._pump(client, now)
