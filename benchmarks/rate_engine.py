"""A discrete-event simulation of paced clients and one limited server: minutes of traffic in milliseconds.

Work is always queued, so only the controllers and the pools' sizes decide what is sent. Everything random is seeded.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from bisect import bisect_left
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
class World:
    """What lies between clients and server. ``arrives_s``: how long a request travels; the server decides then.

    ``rejection_s``: how soon after its arrival a 429 is back; None: it takes as long as an answer.
    ``wakes_late_s``: timers fire late by up to so much, as an event loop's do.
    """

    arrives_s: float = 0.010
    rejection_s: float | None = None
    wakes_late_s: float = 0.0


SLOW = World()
"""A rejection takes as long as an answer; timers are exact."""

AT_ONCE = World(rejection_s=0.002, wakes_late_s=0.002)
"""As real servers and event loops are: the decision falls when the request arrives, and a 429 comes at once."""

WORLDS = {"slow 429s": SLOW, "429s at once": AT_ONCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who sends, for how long, and how long requests take; ``joins_s``: when clients begin, 0 for those not named."""

    latency: Latency
    pool_size: int
    until_s: float
    world: World = SLOW
    seed: int = 1
    joins_s: Sequence[float] = ()


@dataclass(slots=True)
class Client:
    """One controller with its pool, and what came of it: when the server accepted and rejected its requests."""

    controller: Paced
    in_flight: int = 0
    wake_s: float = math.inf
    accepted_s: list[float] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulation. ``capacity`` is what the server could have accepted from ``first_s`` on."""

    clients: Sequence[Client]
    capacity: float
    first_s: float

    @property
    def efficiency(self) -> float:
        """Accepted requests over what the server could have accepted."""
        return sum(len(client.accepted_s) for client in self.clients) / self.capacity

    @property
    def rejected(self) -> int:
        """All rejections together."""
        return sum(len(client.rejected_s) for client in self.clients)

    @property
    def waste(self) -> float:
        """The share of calls that were rejected."""
        accepted = sum(len(client.accepted_s) for client in self.clients)
        return self.rejected / max(1, accepted + self.rejected)

    def accepted_between(self, from_s: float, until_s: float) -> list[int]:
        """How many requests of each client the server accepted in that time."""
        return [
            bisect_left(client.accepted_s, until_s) - bisect_left(client.accepted_s, from_s)
            for client in self.clients
        ]

    def fairness_between(self, from_s: float, until_s: float) -> float:
        """Jain's index of that time: (sum x)^2 / (n sum x^2), 1 when all have the same."""
        counts = self.accepted_between(from_s, until_s)
        squares = sum(count * count for count in counts)
        return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0


def simulate(controllers: Sequence[Paced], server: Server, setting: Setting) -> Outcome:
    """Let every controller send until ``setting.until_s``; the same arguments give the same outcome."""
    return _Run(controllers, server, setting).run()


def steady(seconds: float) -> Latency:
    """Every request takes this time, give or take a fiftieth."""
    return lambda chance: seconds * chance.uniform(0.98, 1.02)


def lognormal(median_s: float, sigma: float) -> Latency:
    """As answers of models do: most near the median, a few much later."""
    return lambda chance: chance.lognormvariate(math.log(median_s), sigma)


class _Run:
    def __init__(self, controllers: Sequence[Paced], server: Server, setting: Setting) -> None:
        self._clients = [Client(controller) for controller in controllers]
        self._server = server
        self._setting = setting
        self._world = setting.world
        self._chance = random.Random(setting.seed)  # noqa: S311 - a simulation
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._first_s: float | None = None

    def run(self) -> Outcome:
        joins_s = itertools.chain(self._setting.joins_s, itertools.repeat(0.0))
        for client, join_s in zip(self._clients, joins_s, strict=False):
            self._at(join_s, lambda now, client=client: self._pump(client, now))  # type: ignore[misc]
        while self._events and self._events[0][0] <= self._setting.until_s:
            now, _, what = heapq.heappop(self._events)
            what(now)
        first_s = self._first_s or 0.0
        return Outcome(self._clients, self._server.capacity(first_s, self._setting.until_s), first_s)

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
                    late_s = self._chance.random() * self._world.wakes_late_s
                    self._at(client.wake_s + late_s, lambda then: self._wake(client, then))
                return
            self._send(client, now)

    def _wake(self, client: Client, now: float) -> None:
        client.wake_s = math.inf
        self._pump(client, now)

    def _send(self, client: Client, now: float) -> None:
        client.controller.sent(now)
        client.in_flight += 1
        took_s = self._setting.latency(self._chance)
        self._at(
            now + min(self._world.arrives_s, took_s / 2), lambda then: self._arrive(client, then, now, took_s)
        )

    def _arrive(self, client: Client, now: float, sent_s: float, took_s: float) -> None:
        if self._first_s is None:
            self._first_s = now
        answer = self._server.answer(now)
        (client.accepted_s if answer.accepted else client.rejected_s).append(now)
        if answer.accepted:
            # The way back is as long as the way there; a place is taken for the time between.
            self._at(max(now, sent_s + took_s - self._world.arrives_s), self._server.left)
        elif self._world.rejection_s is not None:
            took_s = now - sent_s + self._world.rejection_s
        self._at(sent_s + took_s, lambda then: self._back(client, then, sent_s, answer))

    def _back(self, client: Client, now: float, sent_s: float, answer: Answer) -> None:
        client.in_flight -= 1
        if answer.accepted:
            client.controller.succeeded(now, sent_s, answer.headers)
        else:
            client.controller.rejected(now, sent_s, answer.retry_after_s, answer.headers)
        self._pump(client, now)
