"""Numbers as people read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from elspeth_dagster.cli.terminal import safe, shortened
from elspeth_dagster.model.row import JSON

SECONDS_PER_MINUTE: Final = 60
SECONDS_PER_HOUR: Final = 3600
NAME_COLUMNS_MAX: Final = 60
_WORD: Final = re.compile(r"[\w.@/+:-]*\w")


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 row``, ``3,080 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """``54 ms``, ``9.8 s``, ``2 min 05 s``, ``3 h 10 min``."""
    if seconds is None:
        return "?"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    if seconds < SECONDS_PER_HOUR:
        return f"{int(seconds // SECONDS_PER_MINUTE)} min {int(seconds % SECONDS_PER_MINUTE):02} s"
    return (
        f"{int(seconds // SECONDS_PER_HOUR)} h {int(seconds % SECONDS_PER_HOUR // SECONDS_PER_MINUTE):02} min"
    )


def milliseconds(value: float | None) -> str:
    """``0.02 ms``, ``54 ms``, ``1.2 s``."""
    if value is None:
        return "?"
    if value < 10:  # noqa: PLR2004 - below it, whole milliseconds say too little
        return f"{value:.2g} ms" if value else "0 ms"
    return duration(value / 1000)


def rate(per_second: float) -> str:
    """``304``, ``29,900``, ``2.4``: rows a second, to three digits."""
    if per_second >= 100:  # noqa: PLR2004 - three digits before the point are enough
        return f"{float(f'{per_second:.3g}'):,.0f}"
    return f"{per_second:.3g}"


def money(usd: float) -> str:
    """``$0.0248``, ``$12.40``: two digits that matter, at least cents."""
    if usd == 0:
        return "$0"
    if usd >= 1:
        return f"${usd:,.2f}"
    return f"${float(f'{usd:.3g}'):.10f}".rstrip("0")


def moment(stamp: str) -> str:
    """``2026-11-21 07:34:19`` of a stored time, in UTC."""
    return stamp[:19].replace("T", " ")


def name_text(name: str) -> str:
    """A field's name on a line, cut short where somebody's file has none but garbage for a name."""
    return shortened(safe(name), NAME_COLUMNS_MAX)


def value_text(value: JSON, *, columns_max: int = 60) -> str:
    """A value of a row on one line, text in quotes unless it is a single word."""
    if not isinstance(value, str):
        return shortened(safe(json.dumps(value, ensure_ascii=False)), columns_max)
    if _WORD.fullmatch(value):
        return shortened(value, columns_max)
    return f'"{shortened(safe(value), columns_max)}"'


def plain_text(value: JSON) -> str:
    """A value of a row as it is, where its name stands beside it; line breaks are kept."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fields_text(fields: Mapping[str, JSON], *, fields_max: int = 4, columns_max: int = 40) -> str:
    """``urgency 2, mood worried``: some fields of a row in a sentence."""
    shown = [
        f"{name_text(name)} {value_text(value, columns_max=columns_max)}"
        for name, value in list(fields.items())[:fields_max]
    ]
    left = len(fields) - len(shown)
    return ", ".join(shown) + (f" and {counted(left, 'more field')}" if left > 0 else "")


def ordinal(number: int) -> str:
    """``1st``, ``22nd``, ``13th``."""
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
