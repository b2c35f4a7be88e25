"""How clients find a limit that nobody told them: goodput and waste in real time, against a server on this machine.

    python -m benchmarks.bench_rate [--seconds 15] [--only NAME ...] [--clients NAME ...] [--one-at-a-time]

Efficiency is what the server accepted over what it could have accepted, from the first request until ``--seconds``
later, with work queued all that time; waste is the share of requests that it answered with 429; lost are prompts that
the client gave up. The scenarios follow each other. The clients of one run side by side, each with a server and a
process of its own; they keep a processor busy for a small part of the time. Everything random is seeded.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.clients.job import Job
from benchmarks.clients.process import ClientFailedError, client_process
from elspeth_dagster.testing import FakeModelSettings, RetryAfter, Stats, fake_model_process

CLIENTS = {
    "adaptive": "ours, adaptive",
    "aimd": "ours, throttle: aimd",
    "sdk-threads": "openai SDK, threads",
    "textbook": "textbook AIMD on the rate",
    "oracle": "knows the limit",
}

LATENCY_MS = 100.0
RATE_PER_S = 100.0
LOW_RATE_PER_S = 30.0
BURST = 10
PLACES = 20
SLOW_MS = 1000.0
SLOW_SIGMA = 0.5

POOL_SIZE = 32
"""Three times what the limit needs at 100 ms: the size that somebody sets who does not know the limit."""

SLOW_POOL_SIZE = 200
"""At a mean of 1.13 s some 113 are in flight at the limit."""

FEED_BEYOND_S = 0.5
"""Work goes on to be queued until the server has been asked for its counts."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A server's weather for a run of so many seconds, and the pool that meets it."""

    settings: Callable[[float], FakeModelSettings]
    pool_size: int = POOL_SIZE


@dataclass(frozen=True, slots=True)
class Result:
    """What one client reached in one scenario."""

    efficiency: float
    waste: float
    lost: int


def _limited(**others: object) -> Callable[[float], FakeModelSettings]:
    def settings(_seconds: float) -> FakeModelSettings:
        base: dict[str, object] = {"latency_ms": LATENCY_MS, "rate_per_s": RATE_PER_S, "burst": BURST}
        return FakeModelSettings(**(base | others))  # type: ignore[arg-type]  # the scenarios below are right

    return settings


def _in_steps(seconds: float) -> FakeModelSettings:
    steps = ((seconds / 3, LOW_RATE_PER_S), (seconds * 2 / 3, RATE_PER_S))
    return FakeModelSettings(latency_ms=LATENCY_MS, rate_per_s=RATE_PER_S, burst=BURST, rate_steps=steps)


SCENARIOS = {
    "plain": Scenario(_limited()),
    "announced": Scenario(_limited(announce_headers=True)),
    "whole-seconds": Scenario(_limited(retry_after=RetryAfter.SECONDS)),
    "steps": Scenario(_in_steps),
    "charged": Scenario(_limited(charge_rejected=True)),
    "at-once": Scenario(_limited(rate_per_s=None, concurrency_max=PLACES)),
    "at-once-varied": Scenario(_limited(rate_per_s=None, concurrency_max=PLACES, latency_spread=SLOW_SIGMA)),
    "slow": Scenario(_limited(latency_ms=SLOW_MS, latency_spread=SLOW_SIGMA), SLOW_POOL_SIZE),
}

TITLES = {
    "plain": "100/s, burst 10, nothing said",
    "announced": "the same, limits announced in headers",
    "whole-seconds": "the same, Retry-After in whole seconds",
    "steps": "100 -> 30 -> 100/s, a third of the time each",
    "charged": "100/s, rejected requests cost a token too",
    "at-once": "20 at once, no limit on the rate",
    "at-once-varied": "20 at once, answers after 0.1 s (lognormal)",
    "slow": "100/s, answers after 1 s (lognormal)",
}


def main() -> None:
    """Print a table for each scenario."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--one-at-a-time", action="store_true", help="takes as many times longer as clients")
    arguments = parser.parse_args()
    print(f"{arguments.seconds:g} s each; {LATENCY_MS:g} ms to an answer where nothing else is said")
    at_once = 1 if arguments.one_at_a_time else len(arguments.clients)
    for name in arguments.only:
        print(f"\n{TITLES[name]}\n{'':30}{'efficiency':>11}{'waste':>8}{'lost':>7}")
        with ThreadPoolExecutor(at_once) as threads:
            runs = {
                client: threads.submit(_run, client, SCENARIOS[name], arguments.seconds)
                for client in arguments.clients
            }
        for client, run in runs.items():
            try:
                result = run.result()
            except ClientFailedError as error:
                print(f"  {CLIENTS[client]:28}  {error}")
            else:
                print(
                    f"  {CLIENTS[client]:28}{result.efficiency:>11.3f}{result.waste:>8.1%}{result.lost:>7,}"
                )
        sys.stdout.flush()


def _run(client: str, scenario: Scenario, seconds: float) -> Result:
    settings = scenario.settings(seconds)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(fake_model_process(settings))
        rates = () if settings.rate_per_s is None else ((0.0, settings.rate_per_s), *settings.rate_steps)
        job = Job(
            client=client,
            base_url=server.base_url,
            pool_size=scenario.pool_size,
            seconds=seconds + FEED_BEYOND_S,
            rates=rates,
            burst=settings.burst,
            places=settings.concurrency_max,
        )
        asking = stack.enter_context(client_process(job))
        server.reset()
        reset_s = time.monotonic()
        asking.go()
        time.sleep(seconds)
        counts = server.stats()
        elapsed_s = time.monotonic() - reset_s - (counts.first_request_at or 0.0)
        return _judge(counts, settings, elapsed_s, asking.result().lost)


def _judge(counts: Stats, settings: FakeModelSettings, elapsed_s: float, lost: int) -> Result:
    return Result(
        efficiency=counts.accepted / _capacity(settings, elapsed_s),
        waste=counts.rejected_429 / max(1, counts.requests),
        lost=lost,
    )


def _capacity(settings: FakeModelSettings, elapsed_s: float) -> float:
    """How many requests the server could have accepted in that time."""
    if settings.rate_per_s is None:
        mean_s = settings.latency_ms / 1000 * math.exp(settings.latency_spread**2 / 2)
        return (settings.concurrency_max or 0) * elapsed_s / mean_s
    rates: Sequence[tuple[float, float]] = (
        (0.0, settings.rate_per_s),
        *settings.rate_steps,
        (elapsed_s, 0.0),
    )
    return settings.burst + sum(
        rate * max(0.0, min(after_s, elapsed_s) - since_s)
        for (since_s, rate), (after_s, _) in pairwise(rates)
    )


if __name__ == "__main__":
    main()
