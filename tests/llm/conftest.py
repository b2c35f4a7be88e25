"""A raw HTTP/1.1 server on the loopback, scripted byte by byte: the faults below HTTP are what it is for."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

import pytest

from elspeth_dagster.llm import ModelSettings


class Fault(Enum):
    """What a server may do instead of answering."""

    CLOSE = "closes the connection"
    RESET = "resets the connection"
    SILENCE = "says nothing"


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came over the wire; header names in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received], Awaitable[bytes | Fault]]


@dataclass
class RawServer:
    """Answers each request with the bytes that ``answer`` gives; a fault may follow them."""

    answer: Answer
    then: Fault | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def settings(self) -> ModelSettings:
        return ModelSettings(
            model="m", base_url=f"http://127.0.0.1:{self.port}/v1", timeout_s=20, connect_timeout_s=5
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Received(head[0].split(" ")[1], headers, body)
        self.received.append(request)
        said = await self.answer(request)
        if isinstance(said, bytes):
            writer.write(said)
            await writer.drain()
        fault = said if isinstance(said, Fault) else self.then
        if fault is Fault.SILENCE:
            await asyncio.Event().wait()
        if fault is Fault.RESET:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return fault is None


def response(status: int, body: bytes, **headers: str) -> bytes:
    """One HTTP response; ``_`` in a header's name stands for ``-``."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def completion(content: str = '{"mood": "calm"}', **changes: object) -> bytes:
    """The body of one chat completion."""
    message = {"role": "assistant", "content": content}
    whole: dict[str, object] = {
        "object": "chat.completion",
        "model": "m-2",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return json.dumps(whole | changes).encode()


@dataclass(frozen=True)
class Wire:
    """What the tests of the wire need, in one fixture: the test modules cannot import each other."""

    fault = Fault
    response = staticmethod(response)
    completion = staticmethod(completion)

    @staticmethod
    def server(said: bytes | Fault, then: Fault | None = None) -> RawServer:
        """A server that always says the same."""

        async def answer(request: Received) -> bytes | Fault:
            return said

        return RawServer(answer, then)

    @staticmethod
    def scripted(answer: Answer) -> RawServer:
        return RawServer(answer)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The wire, with nothing of this machine's environment that would bend it."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Wire()
