"""An announced limit is read as providers write it, believed at once, and does little harm where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rate_engine import AT_ONCE, SLOW, World
from benchmarks.rate_scenarios import SCENARIOS, run
from benchmarks.rate_servers import Steps, TokenBucket
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController
from elspeth_dagster.pooling.announced import Announced, announced_rate, seconds


def headers(limit: object, remaining: object, reset: object, suffix: str = "-requests") -> Mapping[str, str]:
    return {
        f"X-RateLimit-Limit{suffix}": str(limit),
        f"X-RateLimit-Remaining{suffix}": str(remaining),
        f"X-RateLimit-Reset{suffix}": str(reset),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("6ms", 0.006), ("1.5s", 1.5), ("1m0s", 60), ("1h2m3s", 3723), ("12", 12), ("0.25", 0.25), (" 2s ", 2)],
)
def test_a_duration_is_read_as_providers_write_it(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", [None, "", "soon", "-1", "1e9", "5 minutes", "1s later", "1700000000", "nan"]
)
def test_what_is_no_duration_says_nothing(text: str | None) -> None:
    assert seconds(text) is None


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        (headers(6000, 5990, "100ms"), 100),  # per minute
        (headers(100, 90, "100ms", suffix=""), 100),  # per second
        (headers(36000, 35000, "100s"), 10),  # per hour
        (headers(6000, 5999, "6ms"), 100),  # one is missing, or a part of one
        (headers(7777, 7677, "2s"), 50),  # no usual window: what is missing over the time
        (headers(7777, 7770, "2s"), None),  # nor enough missing
        (headers(6000, 6000, "0ms"), None),
        (headers(0, 0, "1s"), None),
        (headers("many", 5, "1s"), None),
        (headers(100, 200, "1s"), None),
        ({}, None),
    ],
)
def test_the_rate_is_what_is_missing_over_the_time_until_it_is_back(
    said: Mapping[str, str], rate: float | None
) -> None:
    found = announced_rate(said)

    assert found == (None if rate is None else pytest.approx(rate))


@given(st.dictionaries(st.sampled_from(sorted(h.lower() for h in headers(1, 1, 1))), st.text()))
def test_no_header_breaks_it(said: dict[str, str]) -> None:
    rate = announced_rate(said)

    assert rate is None or rate > 0


def test_only_a_changed_announcement_is_news_and_a_wrong_one_is_the_last() -> None:
    announced = Announced()

    assert announced.news(headers(6000, 5990, "100ms"), found=None) == 100
    assert announced.news(headers(6000, 5980, "200ms"), found=100) is None
    assert announced.news(headers(3000, 2990, "200ms"), found=100) == 50
    assert announced.news(headers(600, 590, "1s"), found=100) is None  # 50 were announced, 100 were there
    assert announced.news(headers(6000, 5990, "100ms"), found=100) is None


@pytest.mark.parametrize("world", [SLOW, AT_ONCE], ids=["late-429s", "429s-at-once"])
@pytest.mark.parametrize(
    ("exaggerates", "efficiency"), [(1000, 0.97), (1.5, 0.97), (0.7, 0.95), (0.01, 0.75)]
)
def test_a_wrong_announcement_does_little_harm_and_not_for_long(
    exaggerates: float, efficiency: float, world: World
) -> None:
    scenario = replace(
        SCENARIOS["plain"],
        server=lambda: TokenBucket(Steps((0, 100)), burst=10, announces=True, exaggerates=exaggerates),
        until_s=60.0,
    )

    outcome = run(scenario, lambda: AdaptiveController(PoolConfig()), world)

    assert outcome.efficiency >= efficiency
    assert outcome.waste <= 0.05
    assert outcome.accepted_between(30, 60)[0] >= 0.98 * 100 * 30


def test_an_announced_change_is_followed_at_once() -> None:
    def steps(*, announces: bool) -> float:
        scenario = replace(
            SCENARIOS["steps"],
            server=lambda: TokenBucket(Steps((0, 100), (20, 30), (40, 100)), burst=10, announces=announces),
        )
        return run(scenario, lambda: AdaptiveController(PoolConfig()), AT_ONCE).efficiency

    assert steps(announces=True) >= 0.99 > steps(announces=False)
