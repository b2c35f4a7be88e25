"""One client's connection: requests in, replies out, in order, each when and how it is due.

Pipelined requests are answered one after the other, as HTTP/1.1 wants. Reading never pauses, so that a client that
goes away is noticed at once; what it may send ahead is bounded.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace
from typing import Protocol

from elspeth_dagster.testing.model import FakeModel
from elspeth_dagster.testing.reply import Manner, Reply
from elspeth_dagster.testing.request import Request, RequestParser
from elspeth_dagster.testing.response import RequestError

SLOW_PIECES = 20
"""A slow body comes in this many pieces."""

AHEAD_MAX = 2
"""What a client may send ahead of its answers, in requests of the largest size."""

FAREWELL_S = 2.0
"""How long a client may take to read why its request was no request."""

_NO_LINGER = struct.pack("ii", 1, 0)
"""Closing then sends a reset instead of a farewell."""


class Host(Protocol):
    """The server, as a connection sees it."""

    def opened(self, connection: Connection) -> bool:
        """A connection is open; False: there are too many, break it."""
        ...

    def closed(self, connection: Connection) -> None:
        """A connection is closed."""
        ...

    def leave(self) -> None:
        """Go away: break all connections and accept no more."""
        ...


class Connection(asyncio.Protocol):
    """Serves one connection. Lives on the server's loop."""

    def __init__(self, model: FakeModel, *, host: Host) -> None:
        self._model = model
        self._host = host
        self._parser = RequestParser(body_bytes_max=model.settings.body_bytes_max)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending: Reply | None = None
        self._write_paused = False
        self._ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: TCP gives this one
        self._transport = transport
        if not self._host.opened(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or was sent away."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending is not None:
            self._model.tally.abandoned()
            self._settle(self._pending)
        self._host.closed(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: make no more of them."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused = False
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._ending:
            return
        self._parser.feed(data)
        if self._parser.buffered > AHEAD_MAX * self._parser.buffered_max:
            self.abort()
            return
        self._advance()

    def abort(self) -> None:
        """Break the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Answer what has come, until an answer is due later or no request is complete."""
        while self._transport is not None and not (self._pending or self._write_paused or self._ending):
            try:
                request = self._parser.next_request()
            except RequestError as problem:
                self._break_off(self._model.malformed(problem))
                return
            if request is None:
                self._invite_body()
                return
            self._take_up(request)

    def _break_off(self, reply: Reply) -> None:
        """Say what is wrong with the bytes, and hear no more of them.

        The client may still be sending: closing at once would reset the connection under the answer it has not read.
        """
        self._write(reply)
        self._ending = True
        if self._transport is not None:
            self._transport.write_eof()
            self._timer = self._loop.call_later(FAREWELL_S, self.abort)

    def _invite_body(self) -> None:
        if self._parser.continue_due and self._transport is not None:
            self._parser.continue_due = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take_up(self, request: Request) -> None:
        reply = self._model.reply(request)
        self._ending = not request.keep_alive
        self._pending = reply
        if reply.admitted:
            self._model.tally.began()
        if reply.delay_s:
            self._timer = self._loop.call_later(reply.delay_s, self._deliver_late, reply)
        else:
            self._deliver(reply)

    def _deliver_late(self, reply: Reply) -> None:
        self._timer = None
        self._deliver(reply)
        self._advance()

    def _deliver(self, reply: Reply) -> None:
        if reply.manner is Manner.WHOLE:
            self._settle(reply)
            self._write(reply)
        elif reply.manner is Manner.SLOW:
            self._dribble(reply, 0)
        elif reply.manner is Manner.HANG:
            self._timer = self._loop.call_later(self._model.settings.hang_s, self.abort)
        elif reply.manner is Manner.RESET:
            self._settle(reply)
            self._reset()
        else:
            self._settle(reply)
            self._host.leave()

    def _settle(self, reply: Reply) -> None:
        """The work on this request is over."""
        self._pending = None
        if reply.admitted:
            self._model.tally.ended()

    def _write(self, reply: Reply) -> None:
        if self._transport is None:
            return
        # Counted before it is written: a client that has its answer finds it in /stats.
        self._model.responded(reply)
        self._transport.write(reply.payload)
        if self._ending:
            self._transport.close()

    def _dribble(self, reply: Reply, piece: int) -> None:
        """Write the next piece of a slow body and arrange for the one after it; the last piece ends the reply."""
        size = -(-len(reply.payload) // SLOW_PIECES)
        rest = reply.payload[piece * size :]
        if len(rest) <= size:
            self._settle(reply)
            self._write(replace(reply, payload=rest))
            self._advance()
            return
        if self._transport is not None:
            self._transport.write(rest[:size])
        pause_s = self._model.settings.slow_body_s / SLOW_PIECES
        self._timer = self._loop.call_later(pause_s, self._dribble, reply, piece + 1)

    def _reset(self) -> None:
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()
