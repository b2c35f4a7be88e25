"""How long a server asks to wait, out of its headers.

``Retry-After`` is a number of seconds or an HTTP date (RFC 9110, section 10.2.3); Azure and OpenAI also send
``retry-after-ms``, which is finer and goes first. Whatever else stands there is no wish at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_S_MAX = 86_400.0
"""A day. A row's budget cuts the wait long before; the bound only keeps absurd numbers out of the arithmetic."""

_HEADER_CHARS_MAX = 64
"""The longest HTTP date has 33 characters."""

_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds to wait from ``now``, within 0 and ``RETRY_AFTER_S_MAX``; None if there is no such wish.

    ``headers`` are lower-case, ``now`` is aware. A date that has passed is 0.0: try again at once. A negative
    number, or text that is neither a number nor a date, is None.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, RETRY_AFTER_S_MAX)
    wish = headers.get("retry-after")
    seconds = _number(wish)
    if seconds is None:
        seconds = _until(wish, now)
    return None if seconds is None else min(seconds, RETRY_AFTER_S_MAX)


def _number(text: str | None) -> float | None:
    if text is None or len(text) > _HEADER_CHARS_MAX or not _NUMBER.fullmatch(text.strip()):
        return None
    return float(text)


def _until(text: str | None, now: datetime) -> float | None:
    if text is None or len(text) > _HEADER_CHARS_MAX:
        return None
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if instant.tzinfo is None:  # the zone "-0000" says: UTC, but of an unknown place
        instant = instant.replace(tzinfo=UTC)
    return max(0.0, (instant - now).total_seconds())
