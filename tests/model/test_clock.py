"""Times as the Landscape stores them, and what is random."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.clock import SystemClock, Timestamps, jitter, new_id, new_salts, timestamp
from tests.model.json_values import moments


def test_a_timestamp_is_utc_with_microseconds() -> None:
    berlin = dt.timezone(dt.timedelta(hours=1))

    assert timestamp(dt.datetime(2026, 1, 31, 10, 30, tzinfo=berlin)) == "2026-01-31T09:30:00.000000Z"


@given(moments, moments)
def test_timestamps_are_of_one_width_and_sort_as_time_does(one: dt.datetime, other: dt.datetime) -> None:
    assert len(timestamp(one)) == len(timestamp(other)) == 27
    assert (timestamp(one) < timestamp(other)) == (one < other)
    assert dt.datetime.fromisoformat(timestamp(one)) == one


@given(st.lists(moments), st.lists(st.integers(-1_500_000, 1_500_000)))
def test_many_timestamps_are_each_as_one_alone(seldom: list[dt.datetime], steps_us: list[int]) -> None:
    moment = dt.datetime(2026, 1, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)
    soon = [moment := moment + dt.timedelta(microseconds=step) for step in steps_us]
    timestamps = Timestamps()

    for one in [*seldom, *soon, *seldom]:
        assert timestamps.of(one) == timestamp(one)


def test_the_systems_clock_is_in_utc_and_never_goes_back() -> None:
    clock = SystemClock()
    earlier = clock.monotonic()

    assert clock.now().tzinfo is dt.UTC
    assert clock.monotonic() >= earlier


def test_salts_and_ids_are_never_drawn_twice() -> None:
    salts, names = set(new_salts(1000)), {new_id() for _ in range(1000)}

    assert len(salts) == len(names) == 1000
    assert {len(salt) for salt in salts} == {16}
    assert {len(name) for name in names} == {32}


def test_a_jitter_spreads_waits_around_one() -> None:
    drawn = [jitter() for _ in range(1000)]

    assert 0.5 <= min(drawn) < 1 < max(drawn) < 1.5
