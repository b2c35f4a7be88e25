"""How long a server asks one request to wait, read from its headers."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)
"""RFC 9110 allows whole seconds only; servers send fractions too. Signs and exponents are nobody's."""

_MS_PER_S = 1000.0


def retry_after_s(headers: Mapping[str, str], *, now: dt.datetime) -> float | None:
    """Seconds from ``now`` (UTC) that the server asks to wait; None where it asks for nothing that can be read.

    ``retry-after-ms`` is believed before ``retry-after``, being the finer one. ``retry-after`` is a number of
    seconds or an HTTP date (RFC 9110, 10.2.3); a date that has passed means 0. Names are taken in any case.
    """
    wanted = {
        name.lower(): value for name, value in headers.items() if name.lower().startswith("retry-after")
    }
    milliseconds = _number(wanted.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / _MS_PER_S
    value = wanted.get("retry-after")
    seconds = _number(value)
    return seconds if seconds is not None else _until(value, now)


def _number(value: str | None) -> float | None:
    if value is None or not _SECONDS.fullmatch(value.strip()):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _until(value: str | None, now: dt.datetime) -> float | None:
    if value is None:
        return None
    try:
        instant = parsedate_to_datetime(value.strip())
    except (ValueError, OverflowError):
        return None
    aware = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
    return max(0.0, (aware - now).total_seconds())
