"""Do one unit of work again while the database is only away: locked, failing over, restarting.

The whole unit is repeated, from its first read on, never a part of it: what was read before the failure may not hold
any more. What does not pass (a refused record, a full disk, a lost fence) is raised at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from elspeth_dagster.errors import ElspethError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.driver_errors import is_passing
from elspeth_dagster.model.clock import Clock, SystemClock, jitter

AWAY_S_MAX: Final = (
    120.0  # PostgreSQL fails over within a minute; who waits longer is better stopped, and resumed
)
WAIT_S: Final = 0.05
WAIT_S_MAX: Final = 2.0

P = ParamSpec("P")
T = TypeVar("T")


def persist(work: Callable[[], T], *, clock: Clock, patience_s: float) -> T:
    """Call ``work`` until it succeeds, with growing, jittered waits, for ``patience_s`` from its first failure on.

    Raises:
        ElspethError: a failure that does not pass, or the last one when the patience is at its end.
    """
    ends_s: float | None = None
    for wait_s in _waits():
        try:
            return work()
        except ElspethError as error:
            now_s = clock.monotonic()
            ends_s = now_s + patience_s if ends_s is None else ends_s
            if now_s >= ends_s or not is_passing(error.__cause__ or error):
                raise
        _pause(wait_s * jitter())
    raise AssertionError  # the waits do not end


def patient(query: Callable[Concatenate[Database, P], T]) -> Callable[Concatenate[Database, P], T]:
    """Make a function of a database as patient as that database is."""

    @wraps(query)
    def patiently(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
        if not database.patience_s:
            return query(database, *args, **named)
        return persist(
            lambda: query(database, *args, **named), clock=SystemClock(), patience_s=database.patience_s
        )

    return patiently


def _waits() -> Iterator[float]:
    wait_s = WAIT_S
    while True:
        yield wait_s
        wait_s = min(wait_s * 2, WAIT_S_MAX)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
