"""What a server's wish to wait means in seconds."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.pooling import retry_after_s

NOW = dt.datetime(2026, 10, 21, 7, 28, 0, 500_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, None),
        ({"content-type": "text/plain"}, None),
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": " 7 "}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "often", "retry-after": "1"}, 1.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "\u0663"}, None),  # a digit, but not one of HTTP's
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 29.5),
        ({"retry-after": "Wednesday, 21-Oct-26 07:28:30 GMT"}, 29.5),
        ({"retry-after": "Wed Oct 21 07:28:30 2026"}, 29.5),
        ({"retry-after": "Wed, 21 Oct 2026 08:28:30 +0100"}, 29.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2026 07:28:00 GMT"}, None),
    ],
)
def test_a_header_means_this_many_seconds(headers: dict[str, str], expected_s: float | None) -> None:
    assert retry_after_s(headers, now=NOW) == expected_s


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_at_all_makes_it_raise_or_go_back_in_time(value: str, milliseconds: str) -> None:
    wait_s = retry_after_s({"retry-after": value, "retry-after-ms": milliseconds}, now=NOW)

    assert wait_s is None or wait_s >= 0


@given(st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2090, 1, 1)))  # noqa: DTZ001 - made aware below
def test_a_date_is_held_to_its_instant(instant: dt.datetime) -> None:
    date = instant.replace(microsecond=0, tzinfo=dt.UTC)

    wait_s = retry_after_s({"retry-after": f"{date:%a, %d %b %Y %H:%M:%S} GMT"}, now=NOW)

    assert wait_s == max(0.0, (date - NOW).total_seconds())
