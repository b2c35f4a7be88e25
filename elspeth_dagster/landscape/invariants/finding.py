"""What a check finds, and what it is given to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.evidence import PAGE
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.witness import Witness

__all__ = ["PAGE", "Check", "Examined", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold: the check, the record it is about, and what is wrong, in a sentence."""

    check: str
    table: str
    key: str
    what: str


@dataclass(slots=True)
class Examined:
    """The run that is verified. ``counts`` tells how much was looked at, ``notes`` what could not be.

    ``of_executions`` counts closed records by table and execution, as the check of record hashes finds them.
    ``witness`` is what Dagster's event log says; None where it is not at hand.
    """

    database: Database
    run: RunRecord
    is_finished: bool
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    of_executions: Counter[tuple[str, str]] = field(default_factory=Counter)
    witness: Witness | None = None


Check = Callable[[Examined], Iterator[Finding]]
