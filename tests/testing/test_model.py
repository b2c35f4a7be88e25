"""The model without sockets: when an answer is due, by whose clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.testing import FakeModelSettings
from elspeth_dagster.testing.model import FakeModel
from elspeth_dagster.testing.request import RequestParser

if TYPE_CHECKING:
    from tests.testing.conftest import Frame


def _delay_s(model: FakeModel, data: bytes) -> float:
    parser = RequestParser(body_bytes_max=10_000)
    parser.feed(data)
    request = parser.next_request()
    assert request is not None
    return model.reply(request).delay_s


def test_latency_is_the_same_for_the_same_request_and_try(frame: Frame) -> None:
    settings = FakeModelSettings(latency_ms=20, latency_spread=0.5)
    one, other = FakeModel(settings), FakeModel(settings)

    first = [_delay_s(one, frame(text)) for text in "abcabc"]
    again = [_delay_s(other, frame(text)) for text in "ccbbaa"]

    assert len(set(first)) == 6
    assert sorted(first) == sorted(again)


def test_latency_has_the_median_and_spread_of_the_settings(frame: Frame) -> None:
    model = FakeModel(FakeModelSettings(latency_ms=100, latency_spread=0.5))

    delays = sorted(_delay_s(model, frame(str(i))) for i in range(1000))

    assert delays[500] == pytest.approx(0.1, rel=0.08)
    assert delays[841] == pytest.approx(0.1 * 1.6487, rel=0.12)  # one sigma above, exp(0.5)


def test_without_spread_latency_is_constant(frame: Frame) -> None:
    model = FakeModel(FakeModelSettings(latency_ms=20))

    assert {_delay_s(model, frame(str(i))) for i in range(5)} == {0.02}


def test_the_bucket_follows_the_clock_it_is_given(frame: Frame) -> None:
    now_s = 0.0
    model = FakeModel(FakeModelSettings(rate_per_s=1, burst=1), monotonic_s=lambda: now_s)
    for moment_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        now_s = moment_s
        _delay_s(model, frame())

    assert model.tally.snapshot().accepted == 3
