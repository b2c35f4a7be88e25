"""Ask a node to end from another thread: an event that also tells whoever has to hear of it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop(threading.Event):
    """Set when the run is to end. What sleeps in between is told by ``telling``, and need not look."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Callable[[], None]] = []
        self._lock = threading.Lock()  # owns the list

    def set(self) -> None:
        """End the run, and tell everybody who asked for it."""
        super().set()
        with self._lock:
            told = tuple(self._told)
        for tell in told:
            tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """While inside, ``tell`` is called once the event is set, in the thread that sets it; at once if it is."""
        with self._lock:
            self._told.append(tell)
        try:
            if self.is_set():
                tell()
            yield
        finally:
            with self._lock:
                self._told.remove(tell)
