"""HTTP/1.1 requests from a stream of bytes, whole or in pieces, one after the other or pipelined.

Just enough of the protocol for JSON over POST, made to be cheap: headers are looked up when asked for, never
collected. What the requests mean is for ``model``.
"""

from __future__ import annotations

from dataclasses import dataclass

from elspeth_dagster.testing.chunked import ChunkedBody
from elspeth_dagster.testing.response import RequestError

HEAD_BYTES_MAX = 64 * 1024
"""Clients send one or two KiB of headers."""

_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE_PARTS = 3


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``head`` is the request line and the headers as sent, ``folded`` the same in lower case."""

    method: str
    path: str
    keep_alive: bool
    head: bytes
    folded: bytes
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name, or None."""
        found = _header(self.head, self.folded, name)
        return None if found is None else found.decode("latin-1")


class RequestParser:
    """Feed it bytes, take requests."""

    def __init__(self, *, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._buffer = bytearray()
        self._searched = 0
        self._head = b""
        self._folded = b""
        self._length = 0
        self._chunked: ChunkedBody | None = None
        self.continue_due = False
        """The client waits for ``100 Continue`` before it sends the body; whoever sends that clears it."""

    @property
    def buffered(self) -> int:
        """Bytes that arrived and are not yet part of a request."""
        return len(self._buffer)

    @property
    def buffered_max(self) -> int:
        """What a client that waits for its answers never exceeds."""
        return HEAD_BYTES_MAX + self._body_bytes_max

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next complete request, or None when more must arrive.

        Raises:
            RequestError: the bytes are no request, or a bound is passed; the connection is of no more use.
        """
        if not self._head and not self._take_head():
            return None
        body = self._take_body()
        if body is None:
            return None
        self.continue_due = False
        head, folded = self._head, self._folded
        self._head = b""
        line, _, _ = head.partition(b"\r\n")
        parts = line.decode("latin-1").split(" ")
        if len(parts) != _REQUEST_LINE_PARTS or not parts[2].startswith("HTTP/1."):
            raise RequestError(400, "The first line is no HTTP/1.1 request line.")
        method, target, version = parts
        connection = _header(head, folded, b"connection")
        keep_alive = version != "HTTP/1.0" and (connection is None or connection.lower() != b"close")
        return Request(method, target.partition("?")[0], keep_alive, head, folded, body)

    def _take_head(self) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request are ignored.
            del buffer[:2]
            self._searched = 0
        end = buffer.find(_HEAD_END, self._searched)
        if end > HEAD_BYTES_MAX or (end < 0 and len(buffer) > HEAD_BYTES_MAX):
            raise RequestError(431, f"The request's headers are larger than {HEAD_BYTES_MAX} bytes.")
        if end < 0:
            self._searched = max(0, len(buffer) - len(_HEAD_END) + 1)
            return False
        self._searched = 0
        self._head = bytes(buffer[: end + 2])
        self._folded = self._head.lower()
        del buffer[: end + len(_HEAD_END)]
        self._frame()
        return True

    def _frame(self) -> None:
        """Find out how the body's length is told."""
        self._chunked = None
        self._length = 0
        coding = _header(self._head, self._folded, b"transfer-encoding")
        if coding is not None:
            if coding.lower() != b"chunked":
                raise RequestError(501, "Of the transfer encodings only 'chunked' is known here.")
            self._chunked = ChunkedBody(bytes_max=self._body_bytes_max)
        else:
            self._length = self._content_length()
        self.continue_due = b"\r\nexpect: 100-continue" in self._folded

    def _content_length(self) -> int:
        text = _header(self._head, self._folded, b"content-length")
        if text is None:
            return 0
        if not text.isdigit():
            raise RequestError(400, "Content-Length is not a number.")
        if int(text) > self._body_bytes_max:
            raise RequestError(413, f"The request's body is larger than {self._body_bytes_max} bytes.")
        return int(text)

    def _take_body(self) -> bytes | None:
        if self._chunked is not None:
            return self._chunked.take(self._buffer)
        length = self._length
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body


def _header(head: bytes, folded: bytes, name: bytes) -> bytes | None:
    start = folded.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()
