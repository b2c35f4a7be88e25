"""A request body in chunks (``Transfer-Encoding: chunked``), taken from a buffer as it arrives."""

from __future__ import annotations

from elspeth_dagster.testing.response import RequestError

LINE_BYTES_MAX = 4096
"""A chunk's size line or a trailer line; both are tiny in practice."""

TRAILERS_MAX = 64


class ChunkedBody:
    """Collects one chunked body."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._body = bytearray()
        self._missing = 0
        self._last = False
        self._trailers = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """Consume what ``buffer`` has of this body. Returns the body once it is complete, else None.

        Raises:
            RequestError: it is not chunked as RFC 9112 says, or too large.
        """
        while True:
            if self._missing:
                if not self._take_data(buffer):
                    return None
                continue
            line = self._take_line(buffer)
            if line is None:
                return None
            if self._last:
                if not line:
                    return bytes(self._body)
                self._count_trailer()
            else:
                self._start_chunk(line)

    def _take_data(self, buffer: bytearray) -> bool:
        """Move what is there of the chunk and its closing CRLF; False when more must arrive."""
        piece = buffer[: max(0, self._missing - 2)]
        self._body += piece
        del buffer[: len(piece)]
        self._missing -= len(piece)
        if self._missing > 2 or len(buffer) < 2:  # noqa: PLR2004 - the length of CRLF
            return False
        if buffer[:2] != b"\r\n":
            raise RequestError(400, "A chunk of the request's body does not end where its size says.")
        del buffer[:2]
        self._missing = 0
        return True

    def _take_line(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\r\n", 0, LINE_BYTES_MAX)
        if end < 0:
            if len(buffer) >= LINE_BYTES_MAX:
                raise RequestError(400, "A line between the chunks of the request's body is too long.")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line

    def _count_trailer(self) -> None:
        self._trailers += 1
        if self._trailers > TRAILERS_MAX:
            raise RequestError(400, "The request's body has too many trailers.")

    def _start_chunk(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise RequestError(400, "A chunk of the request's body does not say its size.")
        size = int(digits, 16)
        if len(self._body) + size > self._bytes_max:
            raise RequestError(413, f"The request's body is larger than {self._bytes_max} bytes.")
        self._last = size == 0
        self._missing = size + 2 if size else 0
