"""The adaptive pace reaches what docs/performance.md promises, in simulation: hours of traffic in seconds.

Each scenario runs where a 429 takes as long as an answer and where it comes back at once, as real ones do.
`python -m benchmarks.rate_simulator` prints the same scenarios as a table.
"""

from __future__ import annotations

import pytest

from benchmarks.clients.aimd_rate import RateAIMD
from benchmarks.rate_engine import AT_ONCE, SLOW, World
from benchmarks.rate_scenarios import (
    BACK_S,
    FREE_PER_S,
    SCENARIOS,
    SETTLED_S,
    SHARED_PER_S,
    SHARED_S,
    STAGGERED_S,
    outage,
    run,
    share,
)
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController

both_worlds = pytest.mark.parametrize("world", [SLOW, AT_ONCE], ids=["late-429s", "429s-at-once"])


def adaptive() -> AdaptiveController:
    return AdaptiveController(PoolConfig())


@pytest.mark.parametrize("world", [0, 1], ids=["late-429s", "429s-at-once"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_takes_what_the_server_gives_and_wastes_little(name: str, world: int, seed: int) -> None:
    scenario = SCENARIOS[name]

    outcome = run(scenario, adaptive, scenario.worlds[world], seed=seed)

    assert outcome.efficiency >= scenario.efficiency
    assert outcome.waste <= scenario.waste


@both_worlds
@pytest.mark.parametrize("joins_s", [(), STAGGERED_S], ids=["together", "one-by-one"])
@pytest.mark.parametrize("seed", [1, 2])
def test_four_processes_on_one_key_settle_to_fair_shares(
    world: World, joins_s: tuple[float, ...], seed: int
) -> None:
    outcome = share(adaptive, world, joins_s=joins_s, seed=seed)

    together = sum(outcome.accepted_between(SETTLED_S, SHARED_S))
    assert together >= 0.95 * SHARED_PER_S * (SHARED_S - SETTLED_S)
    assert outcome.fairness_between(SETTLED_S, SHARED_S) >= 0.9


@both_worlds
def test_after_an_outage_and_a_shaky_time_it_is_back_within_half_a_minute(world: World) -> None:
    outcome = outage(adaptive, world)

    (after_30_s,) = outcome.accepted_between(BACK_S, BACK_S + 10)
    assert after_30_s >= 0.9 * FREE_PER_S * 10
    assert outcome.rejected < 100  # it did not hammer a server that was down


def test_it_loses_less_than_the_textbook_in_every_scenario_where_429s_come_at_once() -> None:
    for scenario in SCENARIOS.values():
        ours = run(scenario, adaptive, scenario.worlds[1])
        textbook = run(scenario, RateAIMD, scenario.worlds[1])

        assert ours.efficiency > textbook.efficiency
