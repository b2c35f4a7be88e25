"""Work that Dagster can interrupt at any moment without breaking anything off in the middle.

Dagster ends a step by raising an exception in its main thread, wherever that thread happens to be. So the main thread
only waits, and the work goes on beside it: it is asked to stop, and comes to its end by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from elspeth_dagster.runtime.beside import beside
from elspeth_dagster.runtime.interrupt import Stop

T = TypeVar("T")

TICK_S: Final = 0.5
"""How often the waiting thread looks up. An interrupt wakes it at once."""


def interruptible(
    work: Callable[[], T],
    *,
    stop: Stop,
    tick: Callable[[], None],
    stopping: Callable[[], None],
    tick_s: float = TICK_S,
    repeats: int = 0,
) -> T:
    """Do ``work`` in a thread of its own and return its result; ``tick`` is called every ``tick_s`` meanwhile.

    An exception that is raised here from outside sets ``stop``, tells ``stopping``, waits until the work has come to
    its end, and goes on; a second one goes on at once. ``repeats`` are as many of the second ones that say nothing new.
    Whatever ``work`` raises is raised here.
    """
    done = threading.Event()
    try:
        result = beside(work, name="elspeth-node", on_end=done.set)
        while not done.wait(tick_s):
            tick()
    except BaseException:
        _end(repeats, stop=stop, stopping=stopping, done=done)
        raise
    return result.result()


def _end(repeats: int, *, stop: Stop, stopping: Callable[[], None], done: threading.Event) -> None:
    """Ask the work to stop and wait until it has, through as many exceptions from outside, whenever they come."""
    stop.set()
    try:
        with suppress(Exception):  # telling is a courtesy: the work is what must come to its end
            stopping()
        done.wait()
    except BaseException:
        if not repeats:
            raise
        _end(repeats - 1, stop=stop, stopping=stopping, done=done)
