"""The scenarios of the rate control, declared once: for the simulator's table and for the tests.

Efficiency is what the server accepted over what it could have accepted; waste is the share of calls answered 429.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.rate_engine import (
    AT_ONCE,
    SLOW,
    Latency,
    Outcome,
    Paced,
    Setting,
    World,
    lognormal,
    simulate,
    steady,
)
from benchmarks.rate_servers import AtOnce, Outage, Server, Steps, TokenBucket

Maker = Callable[[], Paced]

LATENCY_S = 0.1
USUAL = steady(LATENCY_S)
VARIED_SIGMA = 0.5
PLACES = 20
NEAR_S = 0.005
"""How long requests travel to the server that limits how many it works on at once; as long the answers back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the table: a server, and what a controller must reach with it.

    ``worlds`` are the ones in which its figures must hold.
    """

    title: str
    server: Callable[[], Server]
    efficiency: float
    waste: float
    latency: Latency = USUAL
    pool_size: int = 32
    until_s: float = 120.0
    worlds: Sequence[World] = (SLOW, AT_ONCE)


def _bucket(*steps: tuple[float, float], burst: float = 10, **others: bool) -> Callable[[], Server]:
    return lambda: TokenBucket(Steps(*steps), burst=burst, **others)


SCENARIOS = {
    "plain": Scenario(title="100 ms, 100/s burst 10", server=_bucket((0, 100)), efficiency=0.98, waste=0.02),
    "announced": Scenario(
        title="the same, headers announced",
        server=_bucket((0, 100), announces=True),
        efficiency=0.99,
        waste=0.02,
    ),
    "whole-seconds": Scenario(
        title="the same, whole-second Retry-After",
        server=_bucket((0, 100), whole_s=True),
        efficiency=0.95,
        waste=0.03,
    ),
    "steps": Scenario(
        title="steps 100 -> 30 -> 100/s",
        server=_bucket((0, 100), (20, 30), (40, 100)),
        efficiency=0.97,
        waste=0.04,
        until_s=60.0,
    ),
    "charged": Scenario(
        title="429s also cost a token",
        server=_bucket((0, 100), charges=True),
        efficiency=0.93,
        waste=0.05,
    ),
    "in-debt": Scenario(
        title="the same, and run into debt",
        server=lambda: TokenBucket(Steps((0, 100)), burst=10, charges=True, debt_max=1000),
        efficiency=0.93,
        waste=0.05,
        worlds=(replace(AT_ONCE, rejection_s=0.030, wakes_late_s=0.020), AT_ONCE),
    ),
    "slow": Scenario(
        title="1 s lognormal latency, 100/s",
        server=_bucket((0, 100)),
        efficiency=0.95,
        waste=0.02,
        latency=lognormal(1.0, 0.5),
        pool_size=200,
    ),
    "large-burst": Scenario(
        title="20/s with a burst of 60",
        server=_bucket((0, 20), burst=60),
        efficiency=0.99,
        waste=0.08,
        until_s=60.0,
    ),
    "at-once": Scenario(
        title="20 at once, no rate limit",
        server=lambda: AtOnce(PLACES, held_s=LATENCY_S - 2 * NEAR_S),
        efficiency=0.90,
        waste=0.02,
        worlds=(replace(SLOW, arrives_s=NEAR_S), replace(AT_ONCE, arrives_s=NEAR_S)),
    ),
    "at-once-varied": Scenario(
        title="the same, lognormal latency",
        server=lambda: AtOnce(PLACES, held_s=LATENCY_S - 2 * NEAR_S),
        efficiency=0.88,
        waste=0.03,
        latency=lognormal(LATENCY_S * math.exp(-(VARIED_SIGMA**2) / 2), VARIED_SIGMA),
        worlds=(replace(SLOW, arrives_s=NEAR_S), replace(AT_ONCE, arrives_s=NEAR_S)),
    ),
}

SHARING = 4
SHARED_PER_S = 100.0
SETTLED_S, SHARED_S = 120.0, 180.0
STAGGERED_S = (0.0, 10.0, 20.0, 30.0)


def run(scenario: Scenario, make: Maker, world: World, *, seed: int = 1) -> Outcome:
    """One controller in one scenario."""
    setting = Setting(
        latency=scenario.latency,
        pool_size=scenario.pool_size,
        until_s=scenario.until_s,
        world=world,
        seed=seed,
    )
    return simulate([make()], scenario.server(), setting)


def share(make: Maker, world: World, *, joins_s: Sequence[float] = (), seed: int = 1) -> Outcome:
    """Four processes on one key of 100/s; what counts is the time from ``SETTLED_S`` to ``SHARED_S``."""
    setting = Setting(latency=USUAL, pool_size=32, until_s=SHARED_S, world=world, seed=seed, joins_s=joins_s)
    return simulate(
        [make() for _ in range(SHARING)], TokenBucket(Steps((0, SHARED_PER_S)), burst=10), setting
    )


BAD_S, SHAKY_S, BACK_S = 30.0, 90.0, 120.0
FREE_PER_S = 200.0


def outage(make: Maker, world: World, *, seed: int = 1) -> Outcome:
    """30 s of nothing but 429, 60 s of half of them, then no limit; what counts is the 10 s from ``BACK_S`` on."""
    setting = Setting(latency=USUAL, pool_size=20, until_s=BACK_S + 10, world=world, seed=seed)
    server = Outage(bad_s=BAD_S, shaky_s=SHAKY_S, free=FREE_PER_S, seed=seed)
    return simulate([make()], server, setting)
