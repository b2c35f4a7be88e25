"""Set the interpreter up for rows: the collector of garbage kept off what is old, and turns between threads short.

Both hold for the whole process, so that they are set when its first node begins and put back when its last one ends.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

SWITCH_S: Final = 0.0005
"""How long one thread computes while another waits for the interpreter. Python's own 5 ms let the Landscape's writer
wait after each of its statements, and let it fall behind the rows: a run took 6% longer."""

YOUNG_OBJECTS: Final = 20_000
"""New objects between two looks for garbage: a page of rows. Most are gone by then without being looked at."""


@dataclass(slots=True)
class _Before:
    """What the interpreter was set to before the first of ``nodes`` began."""

    nodes: int = 0
    switch_s: float = 0.0
    thresholds: tuple[int, int, int] = (0, 0, 0)


_lock = threading.Lock()
_before = _Before()  # owned by the lock


@contextmanager
def set_up_for_rows() -> Iterator[None]:
    """While rows flow, look only at objects that are made from here on, and let threads take turns sooner.

    A hundred thousand records pass through the oldest generation for every few thousand rows; each time the collector
    would walk all of Dagster, pydantic and the SDK, and find nothing. Frozen objects are still freed when their last
    reference goes; only cycles among them wait for the end.
    """
    with _lock:
        _before.nodes += 1
        if _before.nodes == 1:
            _begin()
    try:
        yield
    finally:
        with _lock:
            _before.nodes -= 1
            if _before.nodes == 0:
                _end()


def _begin() -> None:
    _before.switch_s, _before.thresholds = sys.getswitchinterval(), gc.get_threshold()
    if _before.switch_s > SWITCH_S:
        sys.setswitchinterval(SWITCH_S)
    if _before.thresholds[0]:  # nought: the collector is off, by somebody's will
        gc.set_threshold(max(YOUNG_OBJECTS, _before.thresholds[0]), *_before.thresholds[1:])
    gc.collect(
        1
    )  # what is young and gone already: frozen, it would be taken for old, and hardly ever looked at again
    gc.freeze()


def _end() -> None:
    gc.unfreeze()
    gc.set_threshold(*_before.thresholds)
    if _before.switch_s > SWITCH_S:
        sys.setswitchinterval(_before.switch_s)
