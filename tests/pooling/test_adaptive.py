"""What the adaptive controller reaches in simulation, and what it may never do."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.pooling import Controller, PoolConfig
from elspeth_dagster.pooling.adaptive import AdaptiveController
from elspeth_dagster.pooling.controller import AIMDController
from elspeth_dagster.pooling.meter import LimitMeter
from tests.pooling.simulation import Outage, Outcome, TokenBucket, constant, simulate


def plain() -> TokenBucket:
    return TokenBucket([(0.0, 100.0)], burst=10)


def with_whole_second_retry_after() -> TokenBucket:
    return TokenBucket([(0.0, 100.0)], burst=10, whole_s=True)


def slow_with_a_large_burst() -> TokenBucket:
    return TokenBucket([(0.0, 20.0)], burst=60)


def in_steps() -> TokenBucket:
    return TokenBucket([(0.0, 100.0), (20.0, 30.0), (40.0, 100.0)], burst=10)


@pytest.mark.parametrize("pool_size", [24, 64, 128])
@pytest.mark.parametrize(
    ("server", "efficiency", "waste"),
    [
        (plain, 0.98, 0.02),
        (with_whole_second_retry_after, 0.95, 0.03),
        (slow_with_a_large_burst, 0.99, 0.08),
        (in_steps, 0.95, 0.04),
    ],
)
def test_it_rides_the_edge_of_a_token_bucket(
    server: Callable[[], TokenBucket], efficiency: float, waste: float, pool_size: int
) -> None:
    outcome = run(AdaptiveController(PoolConfig()), server(), pool_size=pool_size)

    assert outcome.efficiency >= efficiency
    assert outcome.waste <= waste


def test_it_wastes_a_tenth_of_the_calls_that_a_stepwise_delay_wastes() -> None:
    adaptive = run(AdaptiveController(PoolConfig()), plain(), pool_size=32)
    stepwise = run(AIMDController(PoolConfig()), plain(), pool_size=32)

    assert adaptive.rejected < stepwise.rejected / 10
    assert adaptive.efficiency > stepwise.efficiency - 0.01


def run(controller: Controller, server: TokenBucket, *, pool_size: int) -> Outcome:
    return simulate([controller], server, latency=constant(0.1), pool_size=pool_size, until_s=60)


def test_after_an_outage_and_a_shaky_time_it_is_back_within_seconds() -> None:
    server = Outage(bad_s=30, shaky_s=90, free=200)

    outcome = simulate(
        [AdaptiveController(PoolConfig())], server, latency=constant(0.1), pool_size=20, until_s=130
    )

    after_30_s = sum(1 for at_s in server.accepted_s if 120 <= at_s < 130)
    assert after_30_s >= 0.9 * 200 * 10
    assert outcome.rejected < 100  # it did not hammer a server that was down


def test_a_server_without_a_limit_is_never_waited_for() -> None:
    server = TokenBucket([(0.0, 1e9)], burst=1e9)

    outcome = simulate(
        [AdaptiveController(PoolConfig())], server, latency=constant(0.05), pool_size=20, until_s=10
    )

    assert outcome.rejected == 0
    assert outcome.accepted[0] == pytest.approx(20 / 0.05 * 10, rel=0.01)


events = st.lists(
    st.tuples(
        st.floats(0, 20),  # time since the last event
        st.sampled_from(["sent", "succeeded", "rejected", "dropped"]),
        st.floats(0, 10),  # how long ago the request was sent
        st.none() | st.floats(0, 1e9),
    ),
    max_size=60,
)


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
        assert 0 <= wait <= 2 * config.max_dispatch_delay_ms / 1000 + 1e-9


def test_the_meter_counts_what_was_accepted_between_two_rejections() -> None:
    meter = LimitMeter()
    for number in range(100):
        meter.sent(number / 10)
        (meter.rejected if number % 10 == 0 else meter.accepted)(number / 10)

    assert meter.accepted_between(1.0, 9.0) == pytest.approx(72)
    assert meter.rejected_share(1.0, 9.0) == pytest.approx(0.1)


def test_the_meter_takes_requests_in_flight_to_end_as_the_others_did() -> None:
    meter = LimitMeter()
    for number in range(20):
        meter.sent(float(number))
    for number in range(10):
        (meter.rejected if number < 5 else meter.accepted)(float(number))

    assert meter.accepted_between(-1.0, 19.0) == pytest.approx(10)


def test_the_meters_memory_is_bounded() -> None:
    meter = LimitMeter()
    for number in range(100_000):
        meter.sent(float(number))
        meter.accepted(float(number))

    assert len(meter._sends_s) < 40_000
    assert len(meter._accepted_s) < 40_000
    assert meter.accepted_between(99_000, 99_999) == 999
