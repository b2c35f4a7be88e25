"""Which response headers are kept, and how: a short list, in lower case, as plain text of bounded length.

Kept is what rate control, retries and a provider's support need. All else stays out of memory and out of the audit
trail: cookies, and above all anything that may repeat a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from elspeth_dagster.model.redaction import Redactor

KEPT_HEADERS = frozenset(
    {
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "request-id",
        "content-type",
        "openai-processing-ms",
        "apim-request-id",
        "x-ms-region",
    }
)

KEPT_PREFIX = "x-ratelimit-"

HEADERS_MAX = 40
"""The rate-limit headers of all providers together are fewer."""

VALUE_CHARS_MAX = 256
"""Ids, numbers, dates and media types are shorter."""

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")


def kept_headers(headers: Iterable[tuple[str, str]], *, redactor: Redactor) -> dict[str, str]:
    """Return the headers worth keeping, names in lower case; of a repeated one the last. None holds a secret."""
    kept: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in KEPT_HEADERS and not lower.startswith(KEPT_PREFIX):
            continue
        if len(kept) < HEADERS_MAX and len(lower) <= VALUE_CHARS_MAX:
            kept[lower] = _plain(redactor.text(value))
    return kept


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id by which the provider's support finds the request."""
    for name in _REQUEST_IDS:
        if name in headers:
            return headers[name]
    return None


def _plain(value: str) -> str:
    if not value.isascii():  # bytes that are no UTF-8 come as lone surrogates, which no JSON text holds
        value = value.encode("ascii", "replace").decode("ascii")
    return value[:VALUE_CHARS_MAX]
