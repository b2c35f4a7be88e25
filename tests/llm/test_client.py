"""The client against real connections: what is sent, what comes back, and what a failure is called."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import traceback
from typing import TYPE_CHECKING

import pytest

from elspeth_dagster.errors import (
    CapacityError,
    LaunchError,
    ModelCallError,
    ModelUnusableError,
    RequestRefusedError,
    TransientError,
)
from elspeth_dagster.llm import UNREACHABLE_ERROR_TYPES, ModelClient, ModelSettings, RawReply
from elspeth_dagster.model.row import JSON

if TYPE_CHECKING:
    from tests.llm.conftest import Fault, RawServer, Received, Wire

KEY = "sk-very-secret-0123456789"
BODY: dict[str, JSON] = {"model": "m", "messages": [{"role": "user", "content": "Grüße"}]}

# Words that a classification by message would fall for.
MISLEADING = '{"error": {"message": "rate limit 429 exceeded, could not generate", "code": null}}'


async def ask(settings: ModelSettings, *, pool_size: int = 1) -> RawReply:
    client = ModelClient(settings, api_key=KEY, pool_size=pool_size)
    try:
        return await client.send(BODY)
    finally:
        await client.aclose()


def answer_of(server: RawServer) -> RawReply:
    async def scenario() -> RawReply:
        async with server:
            return await ask(server.settings)

    return asyncio.run(scenario())


def failure_of(server: RawServer, **changes: object) -> ModelCallError:
    async def scenario() -> ModelCallError:
        async with server:
            settings = server.settings.model_copy(update=changes)
            with pytest.raises(ModelCallError) as caught:
                await ask(settings)
            return caught.value

    return asyncio.run(scenario())


def test_the_reply_is_the_exact_bytes_and_the_headers_worth_keeping(wire: Wire) -> None:
    body = b' {"odd":  1.0}\n'
    reply = answer_of(
        wire.server(
            wire.response(
                200,
                body,
                X_Request_Id="r-1",
                Set_Cookie="a=b",
                X_RateLimit_Remaining_Requests="7",
                Server="x",
            )
        )
    )
    assert (reply.status, reply.body) == (200, body)
    assert dict(reply.headers) == {"x-request-id": "r-1", "x-ratelimit-remaining-requests": "7"}


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe", b"<html>"])
def test_a_body_of_status_200_that_is_no_json_is_a_reply(wire: Wire, body: bytes) -> None:
    assert answer_of(wire.server(wire.response(200, body, Content_Type="application/json"))).body == body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, ModelUnusableError),
        (400, RequestRefusedError),
        (401, ModelUnusableError),
        (402, ModelUnusableError),
        (403, ModelUnusableError),
        (404, ModelUnusableError),
        (408, TransientError),
        (409, TransientError),
        (413, RequestRefusedError),
        (418, RequestRefusedError),
        (422, RequestRefusedError),
        (429, CapacityError),
        (500, TransientError),
        (502, TransientError),
        (503, CapacityError),
        (504, TransientError),
        (524, TransientError),
        (529, CapacityError),
    ],
)
def test_a_status_decides_and_the_words_do_not(wire: Wire, status: int, kind: type[ModelCallError]) -> None:
    error = failure_of(
        wire.server(
            wire.response(status, MISLEADING.encode(), Retry_After="3", Location="http://127.0.0.1:1/")
        )
    )
    assert type(error) is kind
    assert error.status_code == status
    assert error.headers == {"retry-after": "3"}
    assert "could not generate" in error.what


def test_one_send_is_one_request_even_when_it_fails(wire: Wire) -> None:
    server = wire.server(wire.response(500, b"", Retry_After_Ms="1"))
    failure_of(server)
    assert len(server.received) == 1


def test_a_refused_connection_is_named_after_its_innermost_cause(wire: Wire) -> None:
    with socket.socket() as held:  # bound, and not listening: connections to it are refused
        held.bind(("127.0.0.1", 0))
        settings = ModelSettings(
            model="m", base_url=f"http://127.0.0.1:{held.getsockname()[1]}/v1", connect_timeout_s=5
        )
        with pytest.raises(TransientError) as caught:
            asyncio.run(ask(settings))
    assert caught.value.error_type == "ConnectionRefusedError"
    assert caught.value.error_type in UNREACHABLE_ERROR_TYPES
    assert caught.value.status_code is None


def test_a_reset_is_told_from_a_timeout(wire: Wire) -> None:
    error = failure_of(wire.server(wire.fault.RESET))
    assert (type(error), error.error_type) == (TransientError, "ConnectionResetError")


def test_a_closed_connection_is_transient(wire: Wire) -> None:
    error = failure_of(wire.server(wire.fault.CLOSE))
    assert (type(error), error.error_type) == (TransientError, "ServerDisconnectedError")


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_a_silent_server_times_out_before_and_within_the_body(wire: Wire, begun: bytes) -> None:
    server = wire.server(begun, wire.fault.SILENCE)
    error = failure_of(server, timeout_s=0.2)
    assert (type(error), error.error_type) == (TransientError, "TimeoutError")


@pytest.mark.parametrize(
    "garbled",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_a_garbled_or_cut_response_is_transient(wire: Wire, garbled: bytes) -> None:
    error = failure_of(wire.server(garbled, wire.fault.CLOSE))
    assert type(error) is TransientError
    assert error.status_code is None


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_response_is_read_up_to_a_bound_even_unpacked(wire: Wire, *, is_packed: bool) -> None:
    body = b" " * (9 * 1024 * 1024)
    packed = wire.response(200, gzip.compress(body), Content_Encoding="gzip")
    error = failure_of(wire.server(packed if is_packed else wire.response(200, body)))
    assert (type(error), error.error_type) == (RequestRefusedError, "response_too_large")


def test_a_response_without_a_length_is_bounded_too(wire: Wire) -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * (9 * 1024 * 1024)
    assert failure_of(wire.server(endless, wire.fault.CLOSE)).error_type == "response_too_large"


def test_connections_are_used_again(wire: Wire) -> None:
    server = wire.server(wire.response(200, b"{}"))

    async def scenario() -> None:
        async with server:
            client = ModelClient(server.settings, api_key=KEY, pool_size=4)
            for _ in range(5):
                await client.send(BODY)
            await client.aclose()

    asyncio.run(scenario())
    assert (len(server.received), server.connections) == (5, 1)


def test_as_many_requests_are_in_flight_as_the_pool_has_places(wire: Wire) -> None:
    pool_size = 24
    arrived = asyncio.Barrier(pool_size)  # nobody is answered before all have come

    async def answer(request: Received) -> bytes:
        await arrived.wait()
        return wire.response(200, b"{}")

    server = wire.scripted(answer)

    async def scenario() -> None:
        async with server:
            client = ModelClient(server.settings, api_key=KEY, pool_size=pool_size)
            for _ in range(2):
                await asyncio.gather(*(client.send(BODY) for _ in range(pool_size)))
            await client.aclose()

    asyncio.run(scenario())
    assert server.connections == pool_size


def test_a_cancelled_request_leaves_the_client_fit_for_the_next(wire: Wire) -> None:
    seen = asyncio.Event()

    async def answer(request: Received) -> bytes | Fault:
        first = not seen.is_set()
        seen.set()
        return wire.fault.SILENCE if first else wire.response(200, b"{}")

    server = wire.scripted(answer)

    async def scenario() -> RawReply:
        async with server:
            client = ModelClient(server.settings, api_key=KEY, pool_size=1)
            hung = asyncio.create_task(client.send(BODY))
            await seen.wait()
            hung.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hung
            reply = await client.send(BODY)
            await client.aclose()
            return reply

    assert asyncio.run(scenario()).status == 200


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="pool_size"):
        ModelClient(ModelSettings(model="m"), api_key=KEY, pool_size=0)


class TestTheKey:
    def test_never_stands_in_an_error_even_when_the_server_repeats_it(self, wire: Wire) -> None:
        async def echo(request: Received) -> bytes:
            shown = json.dumps({"error": {"message": f"bad: {request.headers['authorization']}"}})
            return wire.response(400, shown.encode(), X_Request_Id=request.headers["authorization"])

        self.assert_hidden(failure_of(wire.scripted(echo)))

    @pytest.mark.parametrize("fault", ["CLOSE", "RESET"])
    def test_never_stands_in_the_error_of_a_broken_connection(self, wire: Wire, fault: str) -> None:
        self.assert_hidden(failure_of(wire.server(wire.fault[fault])))

    def test_never_stands_in_the_repr_of_a_client(self, wire: Wire) -> None:
        client = ModelClient(
            ModelSettings(model="m", base_url="http://127.0.0.1:1"), api_key=KEY, pool_size=1
        )
        assert KEY not in repr(client)
        asyncio.run(client.aclose())

    @staticmethod
    def assert_hidden(error: ModelCallError) -> None:
        shown = [
            str(error),
            repr(error),
            repr(error.args),
            repr(vars(error)),
            *traceback.format_exception(error),
        ]
        assert not [text for text in shown if KEY in text]
        assert error.__cause__ is None
        assert error.__context__ is None


class TestTheRequest:
    @pytest.fixture(autouse=True)
    def loud_environment(self, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
        for name, value in {
            "OPENAI_API_KEY": "sk-of-the-environment",
            "OPENAI_BASE_URL": "http://127.0.0.1:1/elsewhere",
            "OPENAI_ORG_ID": "org-env",
            "OPENAI_PROJECT_ID": "proj-env",
            "OPENAI_CUSTOM_HEADERS": "X-Env: 1\nAuthorization: Bearer env\nUser-Agent: env",
            "AZURE_OPENAI_API_KEY": "azure-env",
            "AZURE_OPENAI_AD_TOKEN": "token-env",
            "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:1",
            "OPENAI_API_VERSION": "1999-01-01",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
        }.items():
            monkeypatch.setenv(name, value)

    def test_holds_what_was_given_and_nothing_of_the_environment_or_the_machine(self, wire: Wire) -> None:
        server = wire.server(wire.response(200, b"{}"))
        answer_of(server)
        (request,) = server.received
        assert request.target == "/v1/chat/completions"
        assert json.loads(request.body) == BODY
        assert request.headers == {
            "host": f"127.0.0.1:{server.received[0].headers['host'].rpartition(':')[2]}",
            "authorization": f"Bearer {KEY}",
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(len(request.body)),
            "user-agent": "elspeth_dagster",
        }

    def test_to_azure_names_the_deployment_the_version_and_the_key_as_azure_does(self, wire: Wire) -> None:
        server = wire.server(wire.response(200, b"{}", Apim_Request_Id="a-1"))

        async def scenario() -> RawReply:
            async with server:
                return await ask(
                    ModelSettings(
                        provider="azure",
                        model="gpt-4o",
                        deployment="judge one",
                        api_version="2024-10-21",
                        base_url=f"http://127.0.0.1:{server.port}/",
                    )
                )

        reply = asyncio.run(scenario())
        (request,) = server.received
        assert request.target == ("/openai/deployments/judge%20one/chat/completions?api-version=2024-10-21")
        assert request.headers["api-key"] == KEY
        assert "authorization" not in request.headers
        assert reply.headers["apim-request-id"] == "a-1"

    def test_to_openrouter_goes_below_its_base_url(self, wire: Wire) -> None:
        server = wire.server(wire.response(200, b"{}"))

        async def scenario() -> None:
            async with server:
                base_url = f"http://127.0.0.1:{server.port}/api/v1"
                await ask(
                    ModelSettings(
                        provider="openrouter", model="x/y", base_url=base_url, organization="o", project="p"
                    )
                )

        asyncio.run(scenario())
        (request,) = server.received
        assert request.target == "/api/v1/chat/completions"
        assert request.headers["openai-organization"] == "o"
        assert request.headers["openai-project"] == "p"


class TestAProxy:
    def test_of_the_environment_is_used_for_other_machines(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire.server(wire.response(200, b"{}"))

        async def scenario() -> None:
            async with server:
                monkeypatch.setenv("HTTP_PROXY", f"http://user:pw@127.0.0.1:{server.port}")
                await ask(ModelSettings(model="m", base_url="http://model.invalid/v1"))

        asyncio.run(scenario())
        (request,) = server.received
        assert request.target == "http://model.invalid/v1/chat/completions"
        assert request.headers["proxy-authorization"].startswith("Basic ")

    def test_that_lets_nobody_in_makes_the_model_unusable(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire.server(wire.response(407, b""))

        async def scenario() -> None:
            async with server:
                monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
                with pytest.raises(ModelUnusableError) as caught:
                    await ask(ModelSettings(model="m", base_url="https://model.invalid/v1"))
                assert caught.value.status_code == 407

        asyncio.run(scenario())
        assert server.received[0].target.startswith("model.invalid")
        assert "authorization" not in server.received[0].headers

    def test_of_another_kind_is_refused_before_anything_is_sent(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://user:pw@127.0.0.1:1")
        with pytest.raises(LaunchError) as caught:
            ModelClient(ModelSettings(model="m"), api_key=KEY, pool_size=1)
        assert "pw" not in str(caught.value)
        monkeypatch.setenv("NO_PROXY", "openai.com")
        client = ModelClient(ModelSettings(model="m"), api_key=KEY, pool_size=1)
        asyncio.run(client.aclose())
