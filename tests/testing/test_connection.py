"""Connections: keep-alive, pipelining, pieces, chunks, and clients that do not behave."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault

if TYPE_CHECKING:
    from tests.testing.conftest import Ask, Frame

CHAT = "/v1/chat/completions"


def test_one_connection_serves_many_requests(server: FakeModelServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    statuses = []
    for i in range(20):
        message = {"model": "m", "messages": [{"role": "user", "content": str(i)}]}
        connection.request("POST", CHAT, body=json.dumps(message))
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()

    assert statuses == [200] * 20
    assert server.stats().connections == 1


def test_pipelined_requests_are_answered_in_order(ask: Ask, frame: Frame) -> None:
    settings = FakeModelSettings(latency_ms=5, latency_spread=1)
    with FakeModelServer(settings) as server:
        alone = [ask(server, f"message {i}").body for i in range(5)]
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
            wire.sendall(b"".join(frame(f"message {i}") for i in range(5)))
            together = [_read_response(wire) for _ in range(5)]

    assert together == alone


def test_a_client_that_does_not_read_gets_its_answers_when_it_does(
    server: FakeModelServer, wire: socket.socket, frame: Frame
) -> None:
    count = 3000
    requests = b"".join(frame(f"message {i}") for i in range(count))
    sender = threading.Thread(target=wire.sendall, args=(requests,))
    sender.start()
    with wire.makefile("rb") as reader:
        bodies = sum(line.startswith(b"HTTP/1.1 200") for line in _lines(reader, count))
    sender.join()

    assert bodies == count


def test_a_client_that_sends_without_end_is_cut_off(frame: Frame) -> None:
    with FakeModelServer(FakeModelSettings(body_bytes_max=1000)) as server:
        server.script(Fault.HANG)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
            wire.sendall(frame())
            with pytest.raises(ConnectionError):
                _send_without_end(wire)


def test_a_request_in_pieces_and_in_chunks_is_understood(wire: socket.socket, frame: Frame) -> None:
    whole = frame()
    body = whole.partition(b"\r\n\r\n")[2]
    for i in range(0, len(whole), 50):
        wire.sendall(whole[i : i + 50])
    sized = _read_response(wire)

    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.sendall(head + b"5\r\n" + body[:5] + b"\r\n%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n")

    assert _read_response(wire) == sized


def test_a_client_that_asks_before_it_sends_is_told_to_continue(wire: socket.socket, frame: Frame) -> None:
    head, _, body = frame(headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    wire.sendall(head + b"\r\n\r\n")
    invited = wire.recv(1000)
    wire.sendall(body)

    assert invited == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b'"chat.completion"' in _read_response(wire)


def test_a_connection_that_says_close_is_closed_after_its_answer(wire: socket.socket, frame: Frame) -> None:
    wire.sendall(frame(headers="Connection: close\r\n"))

    _read_response(wire)

    assert wire.recv(1) == b""


def test_bytes_that_are_no_request_are_answered_and_then_the_connection_closes(
    server: FakeModelServer, wire: socket.socket
) -> None:
    wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000)

    body = _read_response(wire)

    assert b"larger than" in body
    assert wire.recv(1) == b""
    assert server.stats().by_status == {"413": 1}


def _send_without_end(wire: socket.socket) -> None:
    while True:
        wire.sendall(b"x" * 10_000)


def _lines(reader: BinaryIO, count: int) -> Iterator[bytes]:
    """The lines of ``count`` responses whose bodies are one line without an end."""
    for _ in range(count):
        length = 0
        while (line := reader.readline()) != b"\r\n":
            yield line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        yield reader.read(length)


def _read_response(wire: socket.socket) -> bytes:
    """The body of the next response, and not a byte of the one after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = wire.recv(1)
        assert byte, "the connection closed before the response"
        head += byte
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
    return wire.recv(length, socket.MSG_WAITALL)
