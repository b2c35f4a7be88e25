"""The lean client sends what the SDK asks for, whole, and leaves what is more than an address and a body to httpx2."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from elspeth_dagster.llm.lean_http import LeanClient

ADDRESS = "https://models.example/v1/chat/completions"


class Wire(httpx2.AsyncBaseTransport):
    """Keeps the requests, and answers with a moved address and a cookie."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        headers = {"location": "https://elsewhere.example/", "set-cookie": "a=b"}
        return httpx2.Response(307, headers=headers, stream=httpx2.ByteStream(b"moved"))


def test_a_request_leaves_as_it_was_made() -> None:
    client = LeanClient(Wire())

    request = client.build_request("POST", ADDRESS, headers=[("x-one", "1")], content=b"{}", timeout=3.0)

    assert (request.method, str(request.url), request.content) == ("POST", ADDRESS, b"{}")
    assert request.headers["x-one"] == "1"


def test_another_address_is_another_request() -> None:
    client = LeanClient(Wire())

    made = [client.build_request("POST", url, content=b"{}") for url in (ADDRESS, f"{ADDRESS}/2", ADDRESS)]

    assert [str(request.url) for request in made] == [ADDRESS, f"{ADDRESS}/2", ADDRESS]


@pytest.mark.parametrize(
    ("parts", "shown"),
    [({"params": "api-version=1"}, "?api-version=1"), ({"params": None, "files": None}, "")],
)
def test_parameters_are_put_into_the_address(parts: dict[str, str | None], shown: str) -> None:
    request = LeanClient(Wire()).build_request("POST", ADDRESS, content=b"{}", **parts)

    assert str(request.url) == ADDRESS + shown


def test_a_response_is_read_whole_and_no_redirect_followed() -> None:
    wire = Wire()

    async def send() -> httpx2.Response:
        async with LeanClient(wire) as client:
            request = client.build_request("POST", ADDRESS, content=b"{}")
            await client.send(request, stream=True, follow_redirects=True)
            return await client.send(request)

    response = asyncio.run(send())

    assert (response.status_code, response.content) == (307, b"moved")
    assert response.request.content == b"{}"
    assert len(wire.requests) == 2
    assert "cookie" not in wire.requests[1].headers


def test_what_the_wire_raises_arrives_as_it_was_raised() -> None:
    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise ConnectionResetError(str(request.url))

    async def send() -> None:
        client = LeanClient(Broken())
        await client.send(client.build_request("POST", ADDRESS, content=b"{}"))

    with pytest.raises(ConnectionResetError, match=r"models\.example"):
        asyncio.run(send())
