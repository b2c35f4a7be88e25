"""Whether a cron expression can ever tick: five fields in their ranges, or a word such as `@daily`.

Dagster reads the expression itself, and would refuse a wrong one only when the definitions are made, with a traceback
and without its line.
"""

from __future__ import annotations

import re
from typing import Final

WORDS: Final = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART: Final = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]+))?")
_FEBRUARY: Final = frozenset({"2", "02", "feb"})
_NEVER_IN_FEBRUARY: Final = frozenset({"30", "31"})
_NUMBER_CHARS_MAX: Final = 4


def cron_mistake(expression: str) -> str | None:
    """What is wrong with it; None where nothing is."""
    text = expression.strip().lower()
    if text.startswith("@"):
        return None if text in WORDS else f"{expression[:60]!r} is none of {', '.join(WORDS)}."
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return "A schedule is a cron expression of five fields, as in `0 6 * * *`."
    for written, (name, first, last, names) in zip(fields, _FIELDS, strict=True):
        if not all(_fits(part, first, last, names) for part in written.split(",")):
            return f"The {name} {written[:60]!r} of the schedule is not within {first} to {last}."
    if fields[3] in _FEBRUARY and fields[2] in _NEVER_IN_FEBRUARY:
        return f"There is no {fields[2]} February: the schedule would never tick."
    return None


def _fits(part: str, first: int, last: int, names: tuple[str, ...]) -> bool:
    found = _PART.fullmatch(part)
    if found is None:
        return False
    start, end, step = found.groups()
    if step is not None and not 0 < _number(step, 0, ()) <= last:
        return False
    if start == "*":
        return end is None
    # `22-4` is a night.
    return all(first <= _number(one, first, names) <= last for one in (start, end) if one is not None)


def _number(written: str, first: int, names: tuple[str, ...]) -> int:
    """The number that is written, as a name perhaps; -1 for what is none."""
    if written in names:
        return names.index(written) + first
    return int(written) if written.isdecimal() and len(written) <= _NUMBER_CHARS_MAX else -1
