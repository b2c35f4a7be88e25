"""The shape of `partitions:`: how a pipeline's rows are divided into runs of their own."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from elspeth_dagster.model.suggest import suggest

SHARDS_MAX: Final = 10_000
"""Each is a run of its own, and reads the whole source."""

STATIC_MAX: Final = 25_000
"""What Dagster shows without trouble."""

_SPLIT_BY_DAGSTER: Final = frozenset("|\n\r\t\0")
"""Dagster's own separators of keys, and what no key of ours needs."""


def _day(value: object) -> object:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"There is no time zone {name[:60]!r}; Europe/Berlin is one.") from None
    return name


def _checked_keys(keys: list[str]) -> list[str]:
    for index, key in enumerate(keys):
        if not key.strip() or _SPLIT_BY_DAGSTER & set(key):
            raise ValueError(
                f"The partition key {key[:60]!r} is empty or holds a character that keys cannot have."
            )
        if key in keys[:index]:
            raise ValueError(f"The partition key {key!r} is named twice.")
    return keys


class Daily(BaseModel):
    """A partition a day, from a first day on."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    start: Annotated[dt.date, BeforeValidator(_day)] = Field(description="The first day, as in 2026-01-01.")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="Where days begin, as in Pacific/Auckland."
    )


class Partitions(BaseModel):
    """One way of dividing; exactly one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    shards: int | None = Field(default=None, ge=1, le=SHARDS_MAX, description="So many parts, by row number.")
    daily: Daily | None = Field(default=None, description="A partition a day.")
    static: Annotated[list[str], AfterValidator(_checked_keys)] | None = Field(
        default=None, min_length=1, max_length=STATIC_MAX, description="These partitions."
    )
    dynamic: Literal[True] | None = Field(default=None, description="Partitions that are added as they come.")
    backfill: Literal["multi_run", "single_run"] = Field(
        default="multi_run", description="Whether a backfill launches a run a partition, or one for all."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Partitions:
        ways = [name for name in ("shards", "daily", "static", "dynamic") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError("Choose one of `shards`, `daily`, `static` and `dynamic`.")
        return self


def _spelled(value: object) -> object:
    """`dynamic` alone is short for `{dynamic: true}`."""
    if isinstance(value, str) and value != "dynamic":
        raise ValueError(f"Write `dynamic`, or keys such as `shards: 16`.{suggest(value, ['dynamic'])}")
    return {"dynamic": True} if value == "dynamic" else value


PartitionsKey = Annotated[Partitions, BeforeValidator(_spelled)]
