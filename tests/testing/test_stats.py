"""What /stats says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault
from elspeth_dagster.testing.stats import Tally

if TYPE_CHECKING:
    from tests.testing.conftest import Ask, Hold


def test_the_page_and_the_method_say_the_same(server: FakeModelServer, ask: Ask) -> None:
    ask(server)
    ask(server, path="/nowhere")

    page = json.loads(ask(server, method="GET", path="/stats").body)

    assert page == {**server.stats().as_json(), "connections": 3}
    assert (page["requests"], page["answered"], page["by_status"]) == (2, 1, {"200": 1, "404": 1})


def test_bodies_answered_twice_are_told_from_those_that_failed_first(
    server: FakeModelServer, ask: Ask
) -> None:
    server.script(Fault.HTTP_500, None, Fault.TRUNCATED_JSON)
    for message in ["a", "a", "b", "b", "c", "c", "c"]:
        ask(server, message)

    stats = server.stats()

    assert (stats.requests, stats.answered, stats.bodies_answered, stats.repeated) == (7, 5, 3, 1)


def test_a_reset_by_request_starts_again(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(rate_per_s=0, burst=1)) as server:
        assert [ask(server).status for _ in range(2)] == [200, 429]
        assert ask(server, method="POST", path="/reset").status == 200
        assert server.stats().requests == 0
        assert ask(server).status == 200
        assert server.stats().repeated == 0


def test_the_peak_in_flight_is_seen(server: FakeModelServer, hold: Hold) -> None:
    with hold(server, 12):
        assert server.stats().in_flight == 12
    with hold(server, 2):
        pass

    stats = server.stats()
    assert (stats.peak_in_flight, stats.in_flight, stats.answered) == (12, 0, 0)


def test_times_run_from_the_start_of_the_server(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(latency_ms=50)) as server:
        assert server.stats().first_request_at is None
        ask(server)
        stats = server.stats()

    assert stats.first_request_at is not None
    assert stats.last_response_at is not None
    assert 0 <= stats.first_request_at <= stats.last_response_at - 0.045


def test_a_client_that_gives_up_is_counted(server: FakeModelServer, hold: Hold) -> None:
    with hold(server, 2):
        assert server.stats().abandoned == 0

    assert server.stats().abandoned == 2


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth_dagster.testing.stats.BODIES_MAX", 2)
    tally = Tally(0.0)

    tries = [tally.admitted(body) for body in (b"a", b"a", b"b", b"c", b"c", b"a")]
    for body in (b"a", b"b", b"c", b"c", b"b"):
        tally.responded(200, 1.0, answered=body)

    assert tries == [0, 1, 0, 0, 0, 2]
    assert (tally.snapshot().bodies_answered, tally.snapshot().repeated) == (2, 1)
