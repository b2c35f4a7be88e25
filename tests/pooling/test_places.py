"""A limit on places is told from a limit on the rate by what was in flight when the rejected requests left."""

from __future__ import annotations

import random

import pytest

from benchmarks.rate_engine import AT_ONCE, SLOW, Setting, World, lognormal, simulate
from benchmarks.rate_scenarios import SCENARIOS, run
from benchmarks.rate_servers import Outage, Steps, TokenBucket
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController
from elspeth_dagster.pooling.places import Places

LIMIT = 20
both_worlds = pytest.mark.parametrize("world", [SLOW, AT_ONCE], ids=["late-429s", "429s-at-once"])


class Told:
    """Tells places of requests that are decided at once; half a second lies between two."""

    def __init__(self) -> None:
        self.places = Places()
        self.now_s = 0.0

    def request(self, others: int, *, accepted: bool) -> None:
        self.now_s += 0.5
        self.places.sent(self.now_s, others)
        if accepted:
            self.places.accepted(self.now_s)
        else:
            self.places.rejected(self.now_s, now_s=self.now_s, latency_s=0.1)

    def limited_by_places(self, requests: int, *, seed: int = 1) -> None:
        chance = random.Random(seed)  # noqa: S311 - a simulation
        for _ in range(requests):
            if self.places.cap is not None:
                return
            others = chance.randrange(10, LIMIT + 1)
            self.request(others, accepted=others < LIMIT)

    def accepted_at_cap(self, requests: int) -> None:
        for _ in range(requests):
            assert self.places.cap is not None
            self.request(self.places.cap - 1, accepted=True)


def capped() -> Told:
    told = Told()
    told.limited_by_places(600)
    assert told.places.cap == LIMIT
    return told


def test_rejections_only_with_many_in_flight_are_a_limit_on_places() -> None:
    assert capped().places.cap == LIMIT


@pytest.mark.parametrize("seed", range(20))
def test_rejections_with_any_number_in_flight_are_a_limit_on_the_rate(seed: int) -> None:
    chance, told = random.Random(seed), Told()  # noqa: S311 - a simulation

    for _ in range(3000):
        told.request(chance.randrange(10, LIMIT + 1), accepted=chance.random() > 0.03)

    assert told.places.cap is None


def test_rejections_at_the_top_of_a_slow_rise_are_no_limit_on_places() -> None:
    told = Told()

    for number in range(3000):
        told.request(10 + number // 20, accepted=number % 40 != 39)

    assert told.places.cap is None


def test_a_few_rejections_are_not_enough() -> None:
    told = Told()

    told.limited_by_places(60)

    assert told.places.cap is None


def test_one_more_place_is_tried_now_and_then_and_given_back_at_a_rejection() -> None:
    told = capped()

    told.accepted_at_cap(60)
    assert told.places.cap == LIMIT + 1
    told.request(LIMIT, accepted=False)

    assert told.places.cap == LIMIT


def test_places_that_were_added_are_found_faster_and_faster() -> None:
    told = capped()

    told.accepted_at_cap(500)

    assert told.places.cap is not None
    assert told.places.cap > 3 * LIMIT


def test_rejections_far_below_the_places_say_that_it_was_something_else() -> None:
    told = capped()

    told.request(5, accepted=False)

    assert told.places.cap is None


def test_rejections_again_and_again_say_that_it_was_something_else() -> None:
    told = capped()

    for _ in range(8):
        told.request(LIMIT, accepted=False)

    assert told.places.cap is None


def test_what_is_remembered_is_bounded() -> None:
    places = Places()

    for number in range(50_000):
        places.sent(float(number), 1)

    assert len(places._left_with) <= 20_000


@both_worlds
@pytest.mark.parametrize(("rate", "median_s", "sigma"), [(100, 0.1, 0.5), (100, 0.3, 1.0), (20, 1.0, 0.5)])
def test_a_limited_rate_is_never_taken_for_places_however_answers_vary(
    rate: float, median_s: float, sigma: float, world: World
) -> None:
    controller = AdaptiveController(PoolConfig())
    setting = Setting(latency=lognormal(median_s, sigma), pool_size=200, until_s=200.0, world=world)

    outcome = simulate([controller], TokenBucket(Steps((0, rate)), burst=10), setting)

    assert controller._places.cap is None
    assert outcome.efficiency >= 0.95


@pytest.mark.parametrize("world", [0, 1], ids=["late-429s", "429s-at-once"])
def test_limited_places_are_recognised_and_then_nearly_all_taken(world: int) -> None:
    scenario = SCENARIOS["at-once-varied"]
    controller = AdaptiveController(PoolConfig())

    outcome = run(scenario, lambda: controller, scenario.worlds[world])

    assert controller._places.cap in {LIMIT, LIMIT + 1}
    (settled,) = outcome.accepted_between(60, 120)
    assert settled >= 0.89 * outcome.capacity / 2


@pytest.mark.parametrize("mistaken", [5, 1000])
@both_worlds
def test_a_rate_that_is_mistaken_for_places_is_still_used_well(mistaken: int, world: World) -> None:
    controller = AdaptiveController(PoolConfig())
    controller._places.cap = controller._places._held = mistaken
    setting = Setting(latency=lognormal(0.1, 0.5), pool_size=64, until_s=60.0, world=world)

    outcome = simulate([controller], TokenBucket(Steps((0, 100)), burst=10), setting)

    assert outcome.efficiency >= 0.9
    assert outcome.waste <= 0.06


def test_an_outage_is_not_hammered_though_places_were_limited() -> None:
    controller = AdaptiveController(PoolConfig())
    controller._places.cap = controller._places._held = LIMIT
    setting = Setting(latency=lognormal(0.1, 0.5), pool_size=32, until_s=60.0, world=AT_ONCE)

    outcome = simulate([controller], Outage(bad_s=1e9, shaky_s=1e9, free=1), setting)

    assert outcome.rejected < 160
