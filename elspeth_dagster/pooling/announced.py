"""The limit that a provider announces in its headers.

OpenAI's form, which many share: ``x-ratelimit-limit-requests`` per window, ``-remaining-`` of it, and ``-reset-`` the
time until all of it is there again. What is missing over that time is the rate; the limit over a window is exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

WINDOWS_S = (1.0, 60.0, 3600.0, 86400.0)
"""Limits are announced per second, minute, hour or day."""

MISSING_EXACT = 20.0
"""So many missing requests give the rate well enough where no usual window fits."""

RESET_S_MAX = 86400.0
"""What is longer is a date, or nonsense."""

CHANGED = 0.03
"""An announcement that differs by more than this from the last is news."""

CONTRADICTED = 1.5
"""Where the limit was found to be so many times higher or lower than announced, announcements are worth nothing."""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|))", re.ASCII)


class Announced:
    """Believes what is announced at once, until it was found to be wrong."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._is_trusted = True

    def news(self, headers: Mapping[str, str], *, found: float | None) -> float | None:
        """Requests per second, if the headers announce another rate than before; ``found`` is what was measured."""
        if not headers or not self._is_trusted:
            return None
        rate = announced_rate(headers)
        if rate is None or (self._rate is not None and abs(rate - self._rate) <= CHANGED * self._rate):
            return None
        if self._rate is not None and found is not None:
            off = found / self._rate
            self._is_trusted = 1 / CONTRADICTED < off < CONTRADICTED
        self._rate = rate
        return rate if self._is_trusted else None


def announced_rate(headers: Mapping[str, str]) -> float | None:
    """Requests per second; None where the headers do not say."""
    values = {
        name.lower(): value for name, value in headers.items() if name.lower().startswith("x-ratelimit-")
    }
    for suffix in ("-requests", ""):
        limit = _number(values.get(f"x-ratelimit-limit{suffix}"))
        remaining = _number(values.get(f"x-ratelimit-remaining{suffix}"))
        reset_s = seconds(values.get(f"x-ratelimit-reset{suffix}"))
        if limit is not None and remaining is not None and reset_s is not None:
            return _rate(limit, limit - remaining, reset_s)
    return None


def seconds(text: str | None) -> float | None:
    """``6ms``, ``1.5s``, ``1m0s``, or plain seconds; None for anything else."""
    parts = _DURATION.findall(text.strip()) if text else []
    if not text or not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return total_s if total_s <= RESET_S_MAX else None


def _rate(limit: float, missing: float, reset_s: float) -> float | None:
    if limit <= 0 or missing < 1 or reset_s <= 0:
        return None
    flowing = missing / reset_s
    # Only whole requests are counted: of few, the last one makes a difference.
    window_s = min(WINDOWS_S, key=lambda one_s: abs(math.log(limit / one_s / flowing)))
    if 1 / (1 + 2 / missing) <= limit / window_s / flowing <= 1 + 2 / missing:
        return limit / window_s
    return flowing if missing >= MISSING_EXACT else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
