"""The wire: HTTP/1.1 over aiohttp, under the openai SDK's client.

Three promises that the SDK's own transports do not give. A response is read up to a bound, counted after any
decompression. The headers of a request are fixed when the transport is made: the key stands nowhere else, nothing
that the SDK finds in the environment or reports of the machine leaves, and the provider sees the body it is
shown. And an exception arrives as aiohttp raised it, so that a reset is not taken for a time-out.

Imported only when a client is made: aiohttp and httpx2 are slow to import.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
import httpx2
from yarl import URL

from elspeth_dagster.llm.headers import kept_headers
from elspeth_dagster.model.redaction import Redactor

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Eight times the largest payload that is recorded; a completion has a few kilobytes."""

KEEPALIVE_S = 30.0
"""Shorter than the idle time after which providers' front ends close (a minute or more): a request rarely meets a
connection that is just being closed."""

_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding")


class ResponseTooLargeError(Exception):
    """A response went past ``BODY_BYTES_MAX``; the rest was not read."""


class ModelTransport(httpx2.AsyncBaseTransport):
    """Sends the SDK's requests through one aiohttp session, which belongs to one event loop.

    The session is opened by the first request. ``headers`` are all that a request carries beside its length.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        redactor: Redactor,
        pool_size: int,
        timeout_s: float,
        connect_timeout_s: float,
        ssl_context: ssl.SSLContext | None,
        proxy: str | None,
    ) -> None:
        self._headers = dict(headers)
        self._redactor = redactor
        self._pool_size = pool_size
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=connect_timeout_s)
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request`` and read the whole response.

        Raises:
            ResponseTooLargeError: the body is larger than is ever read.
            aiohttp.ClientError, OSError: there is no response, or not all of it (``TimeoutError`` is an OSError).
        """
        session = self._session or self._open()
        async with session.request(
            request.method,
            URL(str(request.url), encoded=True),
            data=request.content,
            allow_redirects=False,
            proxy=self._proxy,
        ) as response:
            body = await _bounded(response)
            headers = kept_headers(response.headers.items(), redactor=self._redactor)
            # As a stream, since httpx2 would add a Content-Length of its own to the headers.
            return httpx2.Response(response.status, headers=headers, stream=httpx2.ByteStream(body))

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        # As many connections as requests may be in flight, so that none waits for another's connection.
        connector = aiohttp.TCPConnector(
            limit=self._pool_size, keepalive_timeout=KEEPALIVE_S, ssl=self._ssl_context or True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            skip_auto_headers=_AUTOMATIC,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
        )
        return self._session


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > BODY_BYTES_MAX:
        response.close()
        raise ResponseTooLargeError
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            response.close()  # the connection too: what is left on it is not worth reading
            raise ResponseTooLargeError
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
