"""What a check finds, and what it is given to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import RunRecord

PAGE: Final = 1_000  # records in memory at a time


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold: the check, the record it is about, and what is wrong, in a sentence."""

    check: str
    table: str
    key: str
    what: str


@dataclass(slots=True)
class Examined:
    """The run that is verified. ``counts`` tells how much was looked at, ``notes`` what could not be."""

    database: Database
    run: RunRecord
    is_finished: bool
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


Check = Callable[[Examined], Iterator[Finding]]
