"""HTTP/1.1 responses as bytes, and OpenAI's way of saying what is wrong with a request."""

from __future__ import annotations

import json
from http import HTTPStatus

JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"

_STATUS_LINES: dict[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
} | {529: b"HTTP/1.1 529 Site Overloaded\r\n"}

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
"""The ``type`` that goes with a status; other 4xx are ``invalid_request_error``, other 5xx ``server_error``."""


class RequestError(Exception):
    """The request is wrong: the server answers ``status`` with OpenAI's error shape."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def response(
    status: int, body: bytes, *, headers: bytes = b"", content_type: bytes = JSON_TYPE, close: bool = False
) -> bytes:
    """A whole response; ``headers`` are more lines, each with its CRLF."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()
    return b"%bcontent-type: %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        line,
        content_type,
        b"connection: close\r\n" if close else b"",
        headers,
        len(body),
        body,
    )


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """The error object that OpenAI's API sends with a status of 400 and more."""
    kind = _ERROR_TYPES.get(status) or (
        "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
    )
    error = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}
    return json.dumps({"error": error}).encode()
