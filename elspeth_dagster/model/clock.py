"""Time, randomness and new ids: the only place they come from, so that tests can own them."""

from __future__ import annotations

import datetime as dt
import random
import secrets
import time
import uuid
from typing import Final, Protocol


class Clock(Protocol):
    """Wall time for the record, monotonic time for measuring."""

    def now(self) -> dt.datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """The time of day, in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def timestamp(moment: dt.datetime) -> str:
    """A UTC moment as fixed-width text with microseconds: ``2026-01-31T09:30:00.000250Z``. Sorts as time does."""
    in_utc = moment if moment.tzinfo is dt.UTC else moment.astimezone(dt.UTC)
    return in_utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


class Timestamps:
    """`timestamp` for many moments, one soon after the other: within a second only the fraction is written anew.

    Threads may share one: what is kept is replaced whole.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known = _Second(dt.datetime.min.replace(tzinfo=dt.UTC))

    def of(self, moment: dt.datetime) -> str:
        """The same text as `timestamp` gives."""
        known = self._known
        since = moment - known.begin
        if since.days or since.seconds:
            self._known = known = _Second(moment.replace(microsecond=0))
            since = moment - known.begin
        return f"{known.prefix}{since.microseconds:06d}Z"


class _Second:
    """A second of time, and how timestamps within it begin."""

    __slots__ = ("begin", "prefix")

    def __init__(self, begin: dt.datetime) -> None:
        self.begin = begin
        self.prefix = timestamp(begin)[: -len("000000Z")]


SALT_BYTES: Final = 16


def new_salts(count: int) -> list[bytes]:
    """``count`` times 16 random bytes, from the system's generator: asked once, since asking costs more than a hash."""
    drawn = secrets.token_bytes(SALT_BYTES * count)
    return [drawn[start : start + SALT_BYTES] for start in range(0, len(drawn), SALT_BYTES)]


def new_id() -> str:
    """An id that nobody else has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def jitter() -> float:
    """A random factor in [0.5, 1.5), for waits that must not fall together."""
    return 0.5 + random.random()  # noqa: S311 - spreads waits, guards nothing
