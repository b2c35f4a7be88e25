"""The token bucket against its law: never more than the burst plus what flowed in."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.testing.bucket import DEBT_MAX_S, TokenBucket


def _accepted(bucket: TokenBucket, *, until_s: float, every_s: float) -> int:
    return sum(bucket.take(i * every_s) == 0 for i in range(int(until_s / every_s)))


def test_the_burst_passes_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=3)

    at_once = [bucket.take(5.0) for _ in range(4)]

    assert at_once[:3] == [0, 0, 0]
    assert at_once[3] == pytest.approx(0.1)
    assert bucket.take(5.1) == 0
    assert bucket.take(5.15) == pytest.approx(0.05)


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 0.5), max_size=200),
)
def test_no_more_pass_than_the_burst_and_what_flowed_in(rate: float, burst: int, gaps: list[float]) -> None:
    bucket = TokenBucket(rate_per_s=rate, burst=burst)
    now_s, accepted = 0.0, 0

    for gap in gaps:
        now_s += gap
        accepted += bucket.take(now_s) == 0

    assert accepted <= burst + rate * now_s + 1e-3


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 20))
def test_who_waits_as_long_as_told_is_accepted(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate_per_s=rate, burst=burst)
    wait_s = [bucket.take(0.0) for _ in range(burst + 1)][-1]

    assert wait_s > 0
    assert bucket.take(wait_s) == 0


def test_the_rate_follows_its_steps_from_the_first_request_on() -> None:
    bucket = TokenBucket(rate_per_s=100, burst=1, steps=[(1.0, 30), (2.0, 100)])
    bucket.take(1000.0)

    seconds = [sum(bucket.take(1000 + second + i / 1000) == 0 for i in range(1, 1001)) for second in range(3)]

    assert seconds == pytest.approx([100, 30, 100], abs=2)
    assert bucket.rate_per_s == 100


def test_what_flowed_in_before_a_step_flowed_at_the_old_rate() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=100, steps=[(1.0, 1)])
    for _ in range(100):
        bucket.take(0.0)

    assert sum(bucket.take(3.0) == 0 for _ in range(100)) == 12  # a second at 10, two at 1


def test_rejections_are_free_unless_charged() -> None:
    free = TokenBucket(rate_per_s=10, burst=1)
    charged = TokenBucket(rate_per_s=10, burst=1, charge_rejected=True)

    assert _accepted(free, until_s=10, every_s=0.01) == pytest.approx(100, abs=2)
    assert _accepted(charged, until_s=10, every_s=0.01) == 1


def test_the_debt_of_charged_rejections_is_bounded() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=1, charge_rejected=True)
    for _ in range(100_000):
        bucket.take(0.0)

    assert bucket.take(DEBT_MAX_S + 0.2) == 0


def test_at_rate_zero_nothing_comes_back() -> None:
    bucket = TokenBucket(rate_per_s=0, burst=1)

    assert bucket.take(0.0) == 0
    assert bucket.take(1e6) == math.inf
