"""Times as the Landscape stores them, and what is random."""

from __future__ import annotations

import datetime as dt

from hypothesis import given

from elspeth_dagster.model.clock import SystemClock, jitter, new_id, new_salts, timestamp
from tests.model.json_values import moments


def test_a_timestamp_is_utc_with_microseconds() -> None:
    berlin = dt.timezone(dt.timedelta(hours=1))

    assert timestamp(dt.datetime(2026, 1, 31, 10, 30, tzinfo=berlin)) == "2026-01-31T09:30:00.000000Z"


@given(moments, moments)
def test_timestamps_are_of_one_width_and_sort_as_time_does(one: dt.datetime, other: dt.datetime) -> None:
    assert len(timestamp(one)) == len(timestamp(other)) == 27
    assert (timestamp(one) < timestamp(other)) == (one < other)
    assert dt.datetime.fromisoformat(timestamp(one)) == one


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
