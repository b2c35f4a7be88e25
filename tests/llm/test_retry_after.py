"""How a server's wish to wait is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.llm import RETRY_AFTER_S_MAX, retry_after_s

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("0", 0.0),
        ("2", 2.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("1000000000", RETRY_AFTER_S_MAX),
        ("9" * 60, RETRY_AFTER_S_MAX),
        ("9" * 500, None),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("Mon, 06 May 2024 07:08:39 GMT", 30.0),
        ("Mon, 06 May 2024 07:08:39 -0000", 30.0),
        ("Mon, 06 May 2024 07:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_S_MAX),
        ("Fri, 31 Dec 9999 23:59:59 -1200", RETRY_AFTER_S_MAX),
        ("Mon, 99 May 2024 07:08:39 GMT", None),
    ],
)
def test_a_wish_is_a_number_of_seconds_a_date_or_nothing(wish: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": wish}, NOW) == seconds


def test_milliseconds_go_before_seconds_and_garbage_does_not() -> None:
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "1"}, NOW) == 0.25
    assert retry_after_s({"retry-after-ms": "-5", "retry-after": "1"}, NOW) == 1.0
    assert retry_after_s({"retry-after-ms": "9" * 60}, NOW) == RETRY_AFTER_S_MAX


def test_without_a_header_there_is_no_wish() -> None:
    assert retry_after_s({}, NOW) is None


@given(wish=st.text(max_size=80), milliseconds=st.text(max_size=20))
def test_whatever_stands_there_the_wait_is_within_bounds(wish: str, milliseconds: str) -> None:
    seconds = retry_after_s({"retry-after": wish, "retry-after-ms": milliseconds}, NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_S_MAX


@given(ahead_s=st.integers(-100_000, 80_000), zone_hours=st.integers(-12, 14))
def test_a_date_is_waited_for_in_any_zone(ahead_s: int, zone_hours: int) -> None:
    instant = (NOW + timedelta(seconds=ahead_s)).astimezone(timezone(timedelta(hours=zone_hours)))
    assert retry_after_s({"retry-after": format_datetime(instant)}, NOW) == max(0.0, ahead_s)
