"""The HTTP parser: however the bytes are cut, the same requests come out, and bad bytes are refused with a bound."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.testing.request import HEAD_BYTES_MAX, Request, RequestParser
from elspeth_dagster.testing.response import RequestError

SIZED = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nAPI-Key:  se cret \r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\nabc\r\nA;note=1\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
)
BARE = b"\r\nGET /stats HTTP/1.0\r\n\r\n"
STREAM = SIZED + CHUNKED + BARE + SIZED


def _parsed(pieces: list[bytes]) -> list[Request]:
    parser = RequestParser(body_bytes_max=1000)
    found = []
    for piece in pieces:
        parser.feed(piece)
        while (request := parser.next_request()) is not None:
            found.append(request)
    return found


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=30).map(sorted))
def test_however_the_bytes_are_cut_the_requests_are_the_same(cuts: list[int]) -> None:
    edges = [0, *cuts, len(STREAM)]

    requests = _parsed([STREAM[a:b] for a, b in itertools.pairwise(edges)])

    assert [(one.method, one.path, one.body, one.keep_alive) for one in requests] == [
        ("POST", "/a", b"hello", True),
        ("POST", "/c", b"abc0123456789", True),
        ("GET", "/stats", b"", False),
        ("POST", "/a", b"hello", True),
    ]


def test_byte_by_byte_is_no_different() -> None:
    assert len(_parsed([STREAM[i : i + 1] for i in range(len(STREAM))])) == 4


def test_headers_are_found_whatever_their_case() -> None:
    (request,) = _parsed([SIZED])

    assert request.header(b"api-key") == "se cret"
    assert request.header(b"authorization") is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100, 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES_MAX, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
    ],
)
def test_bytes_that_are_no_request_are_refused(data: bytes, status: int) -> None:
    parser = RequestParser(body_bytes_max=1000)
    parser.feed(data)

    with pytest.raises(RequestError) as refused:
        parser.next_request()

    assert refused.value.status == status
