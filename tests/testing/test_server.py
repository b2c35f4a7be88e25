"""The server over real sockets: its paths, keys, refusals, and how it comes and goes."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from elspeth_dagster.testing.completion import CHARS_PER_TOKEN

if TYPE_CHECKING:
    from tests.testing.conftest import Ask

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
    ],
)
def test_each_provider_finds_its_path(server: FakeModelServer, ask: Ask, path: str) -> None:
    answer = ask(server, "I am angry", path=path)

    assert answer.status == 200
    assert json.loads(answer.content)["mood"] == "angry"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")


def test_an_azure_request_may_leave_the_model_to_its_deployment(server: FakeModelServer, ask: Ask) -> None:
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'

    answer = ask(server, path="/openai/deployments/my%20gpt/chat/completions", body=body)

    assert json.loads(answer.body)["model"] == "my gpt"


def test_usage_is_counted_from_the_texts(server: FakeModelServer, ask: Ask) -> None:
    answer = ask(server, "x" * 400, schema=None)

    usage = json.loads(answer.body)["usage"]
    assert usage["prompt_tokens"] == pytest.approx(100, abs=3)
    assert usage["completion_tokens"] == -(-len(answer.content) // CHARS_PER_TOKEN)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_answer_depends_on_seed_text_and_schema_only(ask: Ask) -> None:
    with (
        FakeModelServer(FakeModelSettings(seed=1)) as one,
        FakeModelServer(FakeModelSettings(seed=2)) as other,
    ):
        first = ask(one, "a")
        for i in range(3):
            ask(one, f"noise {i}")
        assert ask(one, "a").body == first.body
        assert ask(one, "a", path="/chat/completions", headers={"x": "y"}).body == first.body
        assert ask(one, "b").content != first.content
        assert ask(other, "a").content != first.content


def test_a_json_object_is_given_when_only_that_is_asked(server: FakeModelServer, ask: Ask) -> None:
    body = b'{"model": "m", "messages": [{"role": "user"}], "response_format": {"type": "json_object"}}'

    answer = ask(server, body=body)

    assert isinstance(json.loads(answer.content), dict)


def test_a_message_in_parts_is_read_like_one_in_one_piece(server: FakeModelServer, ask: Ask) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()

    assert ask(server, body=body).body == ask(server, "hello", schema=None).body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 404),
        ("POST", "/openai/deployments/a/b/chat/completions", 404),
        ("POST", "/openai/deployments//chat/completions", 404),
        ("GET", CHAT, 405),
        ("POST", "/stats", 404),
    ],
)
def test_what_is_not_there_is_refused_in_openais_words(
    server: FakeModelServer, ask: Ask, method: str, path: str, status: int
) -> None:
    answer = ask(server, method=method, path=path)

    assert answer.status == status
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not json", None),
        (b"\xff\xfe\xfd", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": ["hi"]}', "messages"),
        (b'{"model": "m", "messages": [{"role": "user", "content": 7}]}', "messages"),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "model"),
        (b'{"model": "m", "stream": true, "messages": [{"role": "user"}]}', "stream"),
        (b'{"model": "m", "messages": [{"role": "user"}], "response_format": 1}', "response_format"),
        (
            b'{"model": "m", "messages": [{"role": "user"}], "response_format": {"type": "json_schema"}}',
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_wrong_body_is_a_400_that_names_the_parameter(
    server: FakeModelServer, ask: Ask, body: bytes, param: str | None
) -> None:
    answer = ask(server, body=body)

    assert answer.status == 400
    assert answer.error["param"] == param


def test_a_schema_that_nothing_satisfies_is_a_400(server: FakeModelServer, ask: Ask) -> None:
    answer = ask(server, schema={"type": "integer", "minimum": 2, "maximum": 1})

    assert answer.status == 400
    assert "within its bounds" in str(answer.error["message"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer right"}, 200),
        ({"api-key": "right"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic right"}, 401),
        ({"api-key": "wrong"}, 401),
        ({}, 401),
    ],
)
def test_only_the_right_key_is_let_in(ask: Ask, headers: dict[str, str], status: int) -> None:
    with FakeModelServer(FakeModelSettings(api_key="right")) as server:
        answer = ask(server, headers=headers)

    assert answer.status == status
    if status == 401:
        assert answer.error["code"] == "invalid_api_key"


def test_an_unknown_model_is_not_found(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(models=["known"])) as server:
        found = ask(server, model="known")
        unknown = ask(server, model="other")

    assert found.status == 200
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")


def test_a_server_that_left_refuses_connections_and_can_still_be_asked(ask: Ask) -> None:
    with FakeModelServer(FakeModelSettings(drop_after=2)) as server:
        answers = [ask(server).status for _ in range(2)]
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(server)
        with pytest.raises(ConnectionRefusedError):
            ask(server)

        assert answers == [200, 200]
        assert server.stats().answered == 2


def test_health_answers_and_is_not_counted(server: FakeModelServer, ask: Ask) -> None:
    assert ask(server, method="GET", path="/health").status == 200
    assert server.stats().requests == 0


def test_a_taken_port_is_refused_with_the_next_step() -> None:
    with FakeModelServer() as running, pytest.raises(LaunchError, match=str(running.port)) as refused:
        FakeModelServer(port=running.port).__enter__()

    assert refused.value.hint is not None
    assert "port" in refused.value.hint


def test_a_server_can_be_entered_again_and_says_when_it_is_not_running(ask: Ask) -> None:
    server = FakeModelServer()
    with pytest.raises(LaunchError, match="not running"):
        _ = server.base_url

    for _ in range(2):
        with server:
            assert ask(server).status == 200

    assert server.stats().answered == 2
