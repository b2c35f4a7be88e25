"""Tell at once that an interrupt was seen, whoever handles it: a silent terminal invites a second one.

Dagster puts its own handlers in place while a run is under way. What Python writes to the wakeup descriptor comes
in any case.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_INTERRUPTS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def told_at_once(tell: Callable[[], object]) -> Iterator[None]:
    """While inside, ``tell`` is called in a thread of its own at the process's first SIGINT or SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    reading, writing = socket.socketpair()
    writing.settimeout(0)  # as the wakeup descriptor has to be
    thread = threading.Thread(target=_wait, args=(reading, tell), name="elspeth-interrupts", daemon=True)
    thread.start()
    previous = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        writing.close()
        thread.join()
        reading.close()


def _wait(reading: socket.socket, tell: Callable[[], object]) -> None:
    while number := reading.recv(1):
        if number[0] in _INTERRUPTS:
            tell()
            return
