"""The HTTP client under the openai SDK, without the steps that one model at one address never needs.

httpx2 parses the address, merges default headers and cookies, and asks about authentication and redirects for each
request: a fifth of a call's processor time. Here the address is parsed once and a request goes straight to the
transport, which fixes the headers and follows no redirect. What the SDK asks for beyond that is done as httpx2 does it.

Imported only when a client is made.
"""

from __future__ import annotations

from typing import Any

import httpx2


class LeanClient(httpx2.AsyncClient):
    """Sends through ``transport``, which it owns. No cookies, no redirects, no authentication of its own."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        super().__init__(transport=transport, trust_env=False, follow_redirects=False)
        self._wire = transport
        self._address: httpx2.URL | None = None
        self._address_text = ""

    def build_request(self, method: str, url: httpx2.URL | str, **parts: Any) -> httpx2.Request:
        """A request of a body and headers; one with parameters, files or a form as httpx2 makes it."""
        if parts.keys() - _PLAIN_PARTS and any(parts[name] for name in parts.keys() - _PLAIN_PARTS):
            return super().build_request(method, url, **parts)
        return httpx2.Request(
            method, self._parsed(str(url)), headers=parts.get("headers"), content=parts.get("content")
        )

    async def send(self, request: httpx2.Request, **_options: Any) -> httpx2.Response:
        """Send ``request`` and read the whole response; raises what the transport raises."""
        response = await self._wire.handle_async_request(request)
        response.request = request
        await response.aread()
        return response

    def _parsed(self, text: str) -> httpx2.URL:
        if self._address is None or text != self._address_text:
            self._address, self._address_text = httpx2.URL(text), text
        return self._address


_PLAIN_PARTS = frozenset({"headers", "content", "timeout"})
"""What a chat completion's request has; the time-outs are the transport's own."""
