"""The arithmetic of the delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.pooling import AIMDThrottle, PoolConfig
from elspeth_dagster.pooling.controller import AIMDController

configs = st.builds(
    lambda low, span, multiplier, step: PoolConfig(
        min_dispatch_delay_ms=low,
        max_dispatch_delay_ms=low + span,
        backoff_multiplier=multiplier,
        recovery_step_ms=step,
    ),
    st.floats(0, 1000),
    st.floats(0.001, 10_000),
    st.floats(1.001, 10),
    st.floats(0.001, 1000),
)


def test_zero_becomes_the_recovery_step_then_doubles_up_to_the_cap() -> None:
    throttle = AIMDThrottle(PoolConfig(recovery_step_ms=50, max_dispatch_delay_ms=300))

    delays_ms = []
    for _ in range(5):
        throttle.on_capacity_error()
        delays_ms.append(throttle.current_delay_ms)

    assert delays_ms == [50, 100, 200, 300, 300]
    assert throttle.peak_delay_ms == 300


def test_success_takes_one_step_off_down_to_the_floor() -> None:
    throttle = AIMDThrottle(PoolConfig(min_dispatch_delay_ms=30, recovery_step_ms=50))
    throttle.on_capacity_error()
    throttle.on_capacity_error()
    assert throttle.current_delay_ms == 120

    throttle.on_success()
    assert throttle.current_delay_ms == 70
    throttle.on_success()
    assert throttle.current_delay_ms == 30


def test_equal_bounds_are_a_fixed_delay() -> None:
    throttle = AIMDThrottle(PoolConfig(min_dispatch_delay_ms=100, max_dispatch_delay_ms=100))

    throttle.on_capacity_error()
    assert throttle.current_delay_ms == 100
    throttle.on_success()
    assert throttle.current_delay_ms == 100


@given(configs, st.lists(st.booleans(), max_size=60))
def test_the_delay_follows_the_formula_and_stays_within_its_bounds(
    config: PoolConfig, rejections: list[bool]
) -> None:
    throttle = AIMDThrottle(config)
    low, high, step = config.min_dispatch_delay_ms, config.max_dispatch_delay_ms, config.recovery_step_ms
    expected = low
    for rejected in rejections:
        if rejected:
            expected = min(max(step, low) if expected == 0 else expected * config.backoff_multiplier, high)
            throttle.on_capacity_error()
        else:
            expected = max(expected - step, low)
            throttle.on_success()
        assert throttle.current_delay_ms == expected
        assert low <= throttle.current_delay_ms <= high
        assert throttle.peak_delay_ms >= throttle.current_delay_ms


@given(st.integers(1, 200), st.integers(0, 20))
def test_a_burst_in_flight_is_one_congestion_event(burst: int, later: int) -> None:
    throttle = AIMDThrottle(PoolConfig(recovery_step_ms=50, max_dispatch_delay_ms=1e12))

    backed_off = [throttle.on_capacity_error(now_s=1.0 + n / 1000, sent_s=0.9) for n in range(burst)]
    assert backed_off.count(True) == 1
    assert throttle.current_delay_ms == 50

    for n in range(later):  # each sent after the back-off before it: new events
        assert throttle.on_capacity_error(now_s=10.0 + n, sent_s=9.5 + n)
    assert throttle.current_delay_ms == 50 * 2**later


def test_stats_count_errors_epochs_and_successes() -> None:
    throttle = AIMDThrottle(PoolConfig(recovery_step_ms=50))
    throttle.on_capacity_error(now_s=1, sent_s=0)
    throttle.on_capacity_error(now_s=1.1, sent_s=0.5)
    throttle.on_success()

    assert throttle.get_stats() == {
        "capacity_errors": 2,
        "back_offs": 1,
        "successes": 1,
        "peak_delay_ms": 50,
        "current_delay_ms": 0,
    }


@pytest.mark.parametrize("sent_s", [1.0, 0.0])
def test_a_request_sent_at_the_instant_of_the_back_off_belongs_to_its_epoch(sent_s: float) -> None:
    throttle = AIMDThrottle()
    throttle.on_capacity_error(now_s=1.0, sent_s=0.5)

    assert throttle.on_capacity_error(now_s=2.0, sent_s=sent_s) is False


def test_an_answer_to_a_request_sent_before_the_last_back_off_takes_nothing_off() -> None:
    controller = AIMDController(PoolConfig(recovery_step_ms=50))
    controller.sent(0.0)
    controller.sent(0.0)
    controller.rejected(0.1, 0.0, None, {})

    controller.succeeded(0.2, 0.0, {})
    assert controller.delay_ms == 50

    controller.sent(0.2)
    controller.succeeded(0.3, 0.2, {})
    assert controller.delay_ms == 0
