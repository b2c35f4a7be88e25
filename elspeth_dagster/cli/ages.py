"""Ages as people write them: `180d`, `12h`, `4w`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from elspeth_dagster.errors import ElspethError

_WRITTEN: Final = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
YEARS_MAX: Final = 100


def parsed_age(text: str, *, option: str) -> dt.timedelta:
    """The age that ``text`` says.

    Raises:
        ElspethError: it says none.
    """
    found = _WRITTEN.fullmatch(text.strip())
    age = None if found is None else dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not age or age > dt.timedelta(days=365 * YEARS_MAX):
        raise ElspethError(
            f"{text!r} is not an age.",
            where=option,
            hint="write a number of hours, days or weeks, as 12h, 180d or 4w",
        )
    return age
