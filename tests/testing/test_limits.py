"""What a client is told about the limits: 429, when to come back, and what is left."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, RetryAfter
from elspeth_dagster.testing.limits import Limits

if TYPE_CHECKING:
    from tests.testing.conftest import Ask, Hold


def _lines(block: bytes) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in block.decode().splitlines())
    return {name: value for name, value in pairs}  # noqa: C416 - the pairs are lists


def test_beyond_the_burst_there_is_429(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(rate_per_s=0, burst=3)) as server:
        answers = [ask(server, str(i)) for i in range(5)]
        stats = server.stats()

    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].error["type"] == "rate_limit_error"
    assert answers[3].error["code"] == "rate_limit_exceeded"
    assert (stats.accepted, stats.rejected_429, stats.by_status) == (3, 2, {"200": 3, "429": 2})


def test_a_rejected_request_does_not_count_as_a_try_of_its_fault(ask: Ask) -> None:
    """How often a request was turned away depends on timing; which fault it meets must not."""
    with FakeModelServer(FakeModelSettings(rate_per_s=0, burst=1)) as server:
        assert [ask(server).status for _ in range(3)] == [200, 429, 429]
        server.change(rate_per_s=None)
        assert ask(server).status == 200
        assert server.stats().accepted == 2


@pytest.mark.parametrize(
    ("way", "lines"),
    [
        (RetryAfter.NONE, {}),
        (RetryAfter.SECONDS, {"retry-after": "3"}),
        (RetryAfter.MS, {"retry-after-ms": "2200"}),
    ],
)
def test_the_wait_is_told_in_the_chosen_way(way: RetryAfter, lines: dict[str, str]) -> None:
    assert _lines(Limits(FakeModelSettings(retry_after=way)).retry_after(2.2)) == lines


def test_a_date_is_never_too_early() -> None:
    limits = Limits(FakeModelSettings(retry_after=RetryAfter.DATE))
    before = dt.datetime.now(dt.UTC)

    date = parsedate_to_datetime(_lines(limits.retry_after(2.5))["retry-after"])

    assert dt.timedelta(seconds=2.5) <= date - before <= dt.timedelta(seconds=5)


def test_an_endless_wait_is_told_as_a_minute() -> None:
    limits = Limits(FakeModelSettings(rate_per_s=0, burst=1, retry_after=RetryAfter.SECONDS))
    limits.admit(0.0, in_flight=0)

    assert limits.retry_after(limits.admit(1.0, in_flight=0)) == b"retry-after: 60\r\n"


def test_the_announced_numbers_give_the_rate_either_way() -> None:
    limits = Limits(FakeModelSettings(rate_per_s=100, burst=10, announce_headers=True))
    for _ in range(4):
        limits.admit(0.0, in_flight=0)

    assert _lines(limits.announcement()) == {
        "x-ratelimit-limit-requests": "6000",  # per minute
        "x-ratelimit-remaining-requests": "5996",
        "x-ratelimit-reset-requests": "40ms",  # 4 at 100 a second
    }


@pytest.mark.parametrize(
    ("rate", "used", "reset"),
    [(1, 1, "1s"), (0.5, 3, "6s"), (0.1, 9, "1m0s"), (400, 1, "2.5ms"), (0, 1, "1m0s")],
)
def test_durations_are_written_as_openai_does(rate: float, used: int, reset: str) -> None:
    limits = Limits(FakeModelSettings(rate_per_s=rate, burst=10, announce_headers=True))
    for _ in range(used):
        limits.admit(0.0, in_flight=0)

    assert _lines(limits.announcement())["x-ratelimit-reset-requests"] == reset


def test_no_more_are_in_flight_than_allowed(ask: Ask, hold: Hold) -> None:
    settings = FakeModelSettings(concurrency_max=3, retry_after=RetryAfter.MS)
    with FakeModelServer(settings) as server, hold(server, 3):
        rejected = [ask(server, str(i)) for i in range(2)]
        held = server.stats()

    assert [answer.status for answer in rejected] == [429, 429]
    assert rejected[0].headers["retry-after-ms"] == "1"
    assert (held.in_flight, held.peak_in_flight, held.accepted) == (3, 3, 3)


def test_a_place_that_became_free_is_given_again(ask: Ask, hold: Hold) -> None:
    with FakeModelServer(FakeModelSettings(concurrency_max=1)) as server:
        with hold(server, 1):
            assert ask(server).status == 429

        assert ask(server).status == 200
