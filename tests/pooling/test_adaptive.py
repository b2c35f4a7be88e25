"""What the adaptive controller may never do, whatever the server does. What it reaches is in ``test_scenarios``."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.rate_engine import AT_ONCE, SLOW, Outcome, Setting, World, simulate, steady
from benchmarks.rate_servers import Outage, Server, Steps, TokenBucket
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController
from elspeth_dagster.pooling.meter import LimitMeter

MAX_DELAY_S = PoolConfig().max_dispatch_delay_ms / 1000


def run(
    server: Server, *, latency_s: float, pool_size: int, until_s: float, world: World = AT_ONCE
) -> Outcome:
    setting = Setting(latency=steady(latency_s), pool_size=pool_size, until_s=until_s, world=world)
    return simulate([AdaptiveController(PoolConfig())], server, setting)


def test_a_server_without_a_limit_is_never_waited_for() -> None:
    server = TokenBucket(Steps((0, 1e9)), burst=1e9)

    outcome = run(server, latency_s=0.05, pool_size=20, until_s=10, world=SLOW)

    assert outcome.rejected == 0
    assert outcome.accepted_between(0, 10)[0] == pytest.approx(20 / 0.05 * 10, rel=0.02)


def test_a_server_that_is_down_is_asked_once_in_the_longest_delay() -> None:
    outcome = run(Outage(bad_s=1e9, shaky_s=1e9, free=1), latency_s=0.1, pool_size=32, until_s=600)

    first_wave = 32
    assert 600 / MAX_DELAY_S - 5 <= outcome.rejected <= first_wave + 600 / MAX_DELAY_S + 10


@given(
    st.floats(math.log(0.3), math.log(5000)).map(math.exp),
    st.floats(math.log(0.001), math.log(30)).map(math.exp),
    st.integers(1, 500),
    st.floats(1, 100),
    st.sampled_from([SLOW, AT_ONCE]),
)
def test_it_never_stalls_whatever_the_limit_the_latency_and_the_pool(
    rate: float, latency_s: float, pool_size: int, burst: float, world: World
) -> None:
    possible = min(rate, pool_size / latency_s)
    until_s = min(max(60.0, 20 * latency_s, 40 / rate), 20_000 / possible + 20 * latency_s)

    outcome = run(
        TokenBucket(Steps((0, rate)), burst=burst),
        latency_s=latency_s,
        pool_size=pool_size,
        until_s=until_s,
        world=world,
    )

    (second_half,) = outcome.accepted_between(until_s / 2, until_s)
    assert second_half >= 0.4 * possible * until_s / 2 - 2


events = st.lists(
    st.tuples(
        st.floats(0, 20),  # time since the last event
        st.sampled_from(["sent", "succeeded", "rejected", "dropped"]),
        st.floats(0, 10),  # how long ago the request was sent
        st.none() | st.floats(0, 1e9),
    ),
    max_size=60,
)


@example(
    [
        (0.0, "rejected", 0.0, None),
        (3.0, "rejected", 2.0, None),
        (0.0, "rejected", 0.0, None),
        (0.0, "rejected", 0.0, None),
        (1.0, "rejected", 0.0, None),
    ],
    0.0,
    1.0,
)  # more rejections than requests
@given(events, st.floats(0, 100), st.floats(1, 5000))
def test_whatever_happens_the_delay_is_a_number_within_its_bounds_and_no_wait_is_for_ever(
    history: list[tuple[float, str, float, float | None]], low_ms: float, span_ms: float
) -> None:
    config = PoolConfig(min_dispatch_delay_ms=low_ms, max_dispatch_delay_ms=low_ms + span_ms)
    controller = AdaptiveController(config)
    now = 0.0
    for wait_s, event, ago_s, retry_after in history:
        now += wait_s
        if event == "sent":
            now += controller.next_send(now, 0) or 0.0
            controller.sent(now)
        elif event == "succeeded":
            controller.succeeded(now, max(0.0, now - ago_s), {})
        elif event == "rejected":
            controller.rejected(now, max(0.0, now - ago_s), retry_after, {})
        else:
            controller.dropped(now, max(0.0, now - ago_s))
        delay_ms = controller.delay_ms
        assert math.isfinite(delay_ms)
        assert low_ms - 1e-9 <= delay_ms <= low_ms + span_ms + 1e-9
        wait = controller.next_send(now, 0)
        assert wait is not None
        assert 0 <= wait <= config.max_dispatch_delay_ms / 1000 + 1e-9


def test_the_meter_counts_what_was_accepted_between_two_rejections() -> None:
    meter = LimitMeter()
    for number in range(100):
        meter.sent(number / 10)
        if number % 10 == 0:
            meter.rejected(number / 10, now_s=number / 10)
        else:
            meter.accepted(number / 10)

    assert meter.accepted_between(1.0, 9.0, now_s=100) == pytest.approx(72)
    assert meter.rejected_between(1.0, 9.0) == 8


def test_what_is_in_flight_for_longer_than_rejections_take_was_accepted() -> None:
    meter = LimitMeter()
    for number in range(20):
        meter.sent(number / 10)
    meter.rejected(0.0, now_s=0.002)

    assert meter.accepted_between(-1.0, 1.9, now_s=1.95) == 19


def test_the_youngest_in_flight_end_as_the_others_did() -> None:
    meter = LimitMeter()
    for number in range(20):
        meter.sent(number / 10)
    for number in range(10):
        if number % 2:
            meter.rejected(number / 10, now_s=number / 10 + 5)
        else:
            meter.accepted(number / 10, now_s=number / 10 + 5)

    # Rejections take five seconds: of the ten that are out, nothing is known yet.
    assert meter.accepted_between(-1.0, 1.9, now_s=1.9) == pytest.approx(5 + 10 * 0.5, abs=5)


def test_the_meters_memory_is_bounded() -> None:
    meter = LimitMeter()
    for number in range(100_000):
        meter.sent(float(number))
        meter.accepted(float(number), now_s=number + 1.0)

    assert len(meter._sends_s) <= 20_000
    assert len(meter._accepted_s) <= 20_000
    assert meter.accepted_between(99_000, 99_999, now_s=1e6) == 999
