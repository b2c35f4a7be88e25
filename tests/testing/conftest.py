"""A small client of the fake model: standard library only, one connection a request unless told otherwise."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import pytest

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing import FakeModelServer, Fault

MOOD: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["calm", "worried", "angry"]},
        "confidence": {"type": "number"},
    },
    "required": ["mood", "confidence"],
    "additionalProperties": False,
}

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, JSON]:
        """The error object of a refusal."""
        found: dict[str, JSON] = json.loads(self.body)["error"]
        return found

    @property
    def choice(self) -> dict[str, JSON]:
        """The only choice, its message's content and refusal beside its finish reason."""
        (choice,) = json.loads(self.body)["choices"]
        return {**choice["message"], "finish_reason": choice["finish_reason"]}

    @property
    def content(self) -> str:
        """The answer's text."""
        content = self.choice["content"]
        assert isinstance(content, str)
        return content


class Ask(Protocol):
    """Sends one request for a chat completion."""

    def __call__(
        self,
        server: FakeModelServer,
        message: str = ...,
        *,
        schema: JSON = ...,
        path: str = ...,
        headers: Mapping[str, str] = ...,
        body: bytes | None = ...,
        method: str = ...,
        model: str = ...,
    ) -> Answer: ...


class Frame(Protocol):
    """Writes the bytes of one request for a chat completion."""

    def __call__(self, message: str = ..., *, schema: JSON = ..., headers: str = ...) -> bytes: ...


class Hold(Protocol):
    """Has the server hold requests: that many are in flight inside the ``with``, none after it."""

    def __call__(self, server: FakeModelServer, count: int) -> AbstractContextManager[None]: ...


def chat_body(message: str, *, schema: JSON = None, model: str = "m") -> bytes:
    """The JSON of a chat request."""
    given: dict[str, JSON] = {"model": model, "messages": [{"role": "user", "content": message}]}
    if schema is not None:
        wrapper: JSON = {"name": "answer", "strict": True, "schema": schema}
        given["response_format"] = {"type": "json_schema", "json_schema": wrapper}
    return json.dumps(given).encode()


@pytest.fixture
def mood() -> dict[str, JSON]:
    return MOOD


@pytest.fixture
def ask() -> Ask:
    def send(
        server: FakeModelServer,
        message: str = "hello",
        *,
        schema: JSON = MOOD,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        method: str = "POST",
        model: str = "m",
    ) -> Answer:
        sent = chat_body(message, schema=schema, model=model) if body is None else body
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body=sent, headers=dict(headers or {}))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    return send


@pytest.fixture
def frame() -> Frame:
    def write(message: str = "hello", *, schema: JSON = MOOD, headers: str = "") -> bytes:
        body = chat_body(message, schema=schema)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return write


@pytest.fixture
def server() -> Iterator[FakeModelServer]:
    with FakeModelServer() as running:
        yield running


@pytest.fixture
def wire(server: FakeModelServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connected:
        yield connected


@pytest.fixture
def hold(frame: Frame) -> Hold:
    @contextmanager
    def holding(server: FakeModelServer, count: int) -> Iterator[None]:
        server.script(*[Fault.HANG] * count)
        with ExitStack() as wires:
            for i in range(count):
                address = ("127.0.0.1", server.port)
                wire = wires.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
                wire.sendall(frame(f"held {i}"))
            _until_in_flight(server, count)
            yield
        _until_in_flight(server, 0)

    return holding


def _until_in_flight(server: FakeModelServer, count: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while server.stats().in_flight != count:
        assert time.monotonic() < end_s, f"never were {count} in flight"
