"""Each fault as a client sees it, and which request meets which fault."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, RetryAfter, Rule
from elspeth_dagster.testing.faults import FaultPlan

if TYPE_CHECKING:
    from tests.testing.conftest import Answer, Ask


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_a_status_fault_is_that_status_with_an_error_object(
    server: FakeModelServer, ask: Ask, status: int
) -> None:
    server.script(Fault(f"http_{status}"))

    answer = ask(server)

    assert answer.status == status
    assert answer.error["message"]
    assert ask(server).status == 200


def _answer_fields(answer: Answer) -> dict[str, object]:
    found: dict[str, object] = json.loads(answer.content)
    return found


def _is_json(text: bytes | str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault.NOT_JSON, lambda a: a.body.startswith(b"<html>") and "html" in a.headers["content-type"]),
        (Fault.TRUNCATED_JSON, lambda a: a.body.startswith(b'{"id"') and not _is_json(a.body)),
        (Fault.EMPTY_BODY, lambda a: a.body == b""),
        (Fault.ANSWER_NOT_JSON, lambda a: not _is_json(a.content)),
        (Fault.ANSWER_TRUNCATED, lambda a: a.content.startswith("{") and not _is_json(a.content)),
        (Fault.MISSING_FIELDS, lambda a: set(_answer_fields(a)) == {"mood"}),
        (Fault.WRONG_TYPES, lambda a: not isinstance(_answer_fields(a)["mood"], str)),
        (Fault.WRONG_TYPES, lambda a: not isinstance(_answer_fields(a)["confidence"], int | float)),
        (Fault.NAN, lambda a: "NaN" in a.content),
        (Fault.REFUSAL, lambda a: a.choice["refusal"] and a.choice["content"] is None),
        (Fault.LENGTH, lambda a: a.choice["finish_reason"] == "length" and not _is_json(a.content)),
        (Fault.CONTENT_FILTER, lambda a: a.choice["finish_reason"] == "content_filter"),
        (Fault.NO_USAGE, lambda a: "usage" not in json.loads(a.body) and _is_json(a.content)),
        (Fault.SLOW_BODY, lambda a: _is_json(a.content)),
    ],
)
def test_a_fault_with_status_200_spoils_what_its_name_says(
    ask: Ask, fault: Fault, seen: Callable[[Answer], bool]
) -> None:
    with FakeModelServer(FakeModelSettings(faults={fault: 1.0}, slow_body_s=0.05)) as server:
        answer = ask(server, "I am calm")
        stats = server.stats()

    assert answer.status == 200
    assert seen(answer)
    assert stats.by_fault == {str(fault): 1}
    assert stats.answered == (1 if fault in {Fault.SLOW_BODY, Fault.NO_USAGE} else 0)


def test_a_slow_body_takes_its_time(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(faults={Fault.SLOW_BODY: 1.0}, slow_body_s=0.3)) as server:
        began_s = time.monotonic()
        ask(server)

    assert time.monotonic() - began_s >= 0.25


def test_a_reset_breaks_the_connection(server: FakeModelServer, ask: Ask) -> None:
    server.script(Fault.RESET)

    with pytest.raises(ConnectionResetError):
        ask(server)

    stats = server.stats()
    assert (stats.in_flight, stats.abandoned, stats.accepted) == (0, 0, 1)


def test_a_hang_says_nothing_until_the_server_gives_up(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(hang_s=0.1)) as server:
        server.script(Fault.HANG)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(server)

        assert server.stats().in_flight == 0


@pytest.mark.parametrize("fault", [Fault.WRONG_TYPES, Fault.NAN, Fault.MISSING_FIELDS])
def test_faults_of_an_answer_also_work_without_a_schema(
    server: FakeModelServer, ask: Ask, fault: Fault
) -> None:
    server.script(fault)

    assert ask(server, schema=None).status == 200


def test_wrong_types_stay_clear_of_every_alternative(server: FakeModelServer, ask: Ask) -> None:
    either: JSON = {
        "properties": {"a": {"anyOf": [{"type": "object"}, {"type": "integer"}, {"type": "null"}]}}
    }
    server.script(Fault.WRONG_TYPES)

    answer = ask(server, schema=either)

    assert json.loads(answer.content) == {"a": "high"}


def test_the_script_goes_to_the_next_requests_in_order(server: FakeModelServer, ask: Ask) -> None:
    server.script(Fault.HTTP_500, None, Fault.HTTP_503)

    assert [ask(server).status for _ in range(4)] == [500, 200, 503, 200]


def test_a_rule_meets_the_rows_with_its_words_as_often_as_it_says(ask: Ask) -> None:
    rules = [Rule("twice", Fault.HTTP_500, times=2), Rule("poison", Fault.CONTENT_FILTER)]
    with FakeModelServer(FakeModelSettings(rules=rules)) as server:
        twice = [ask(server, "fails twice").status for _ in range(3)]
        poison = [ask(server, "the poison row").choice["finish_reason"] for _ in range(3)]
        other = ask(server, "an innocent row").choice["finish_reason"]
        server.reset()
        again = ask(server, "fails twice").status

    assert twice == [500, 500, 200]
    assert poison == ["content_filter"] * 3
    assert other == "stop"
    assert again == 500


def test_chance_depends_on_the_request_and_its_try_not_on_the_order(ask: Ask) -> None:
    settings = FakeModelSettings(seed=3, faults={Fault.HTTP_500: 0.5})
    messages = [f"row {i}" for i in range(20)]
    with FakeModelServer(settings) as server:
        forward = {message: [ask(server, message).status for _ in range(3)] for message in messages}
        server.reset()
        backward = {
            message: [ask(server, message).status for _ in range(3)] for message in reversed(messages)
        }

    assert forward == backward
    assert [500, 200] in [statuses[:2] for statuses in forward.values()]


def test_probabilities_are_kept() -> None:
    plan = FaultPlan({Fault.HTTP_500: 0.1, Fault.RESET: 0.2})

    picks = [plan.pick(i.to_bytes(8, "big"), last_user="") for i in range(10_000)]

    assert picks.count(Fault.HTTP_500) == pytest.approx(1000, abs=120)
    assert picks.count(Fault.RESET) == pytest.approx(2000, abs=160)


def test_always_is_for_ever_and_says_when_to_come_back(ask: Ask) -> None:
    settings = FakeModelSettings(always=429, retry_after=RetryAfter.SECONDS)
    with FakeModelServer(settings) as server:
        answers = [ask(server) for _ in range(3)]
        stats = server.stats()

    assert [answer.status for answer in answers] == [429] * 3
    assert answers[0].headers["retry-after"] == "1"
    assert (stats.rejected_429, stats.accepted) == (3, 0)
