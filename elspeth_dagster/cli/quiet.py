"""Keep what Dagster, its helpers and a pipeline's own code print away from the command's output.

Both the process's descriptors and Python's streams go to a file while a run is under way: child processes inherit the
former, and what is printed from Python must not end up between two lines of a JSON document.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

_OUT: Final = 1
_ERR: Final = 2


@contextlib.contextmanager
def quiet(log: Path, *, is_debug: bool) -> Iterator[TextIO]:
    """Send everything that is printed into ``log``, or with ``is_debug`` to standard error; yields the real output.

    The log is removed if nothing was printed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        screen = stack.enter_context(_duplicate(_OUT, sys.stdout))
        if is_debug:
            noise: TextIO = sys.stderr
            stack.enter_context(_redirected(_OUT, _ERR))
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            noise = stack.enter_context(
                log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
            )
            stack.callback(_remove_if_empty, log)
            stack.enter_context(_redirected(_OUT, noise.fileno()))
            stack.enter_context(_redirected(_ERR, noise.fileno()))
            stack.enter_context(contextlib.redirect_stderr(noise))
        stack.enter_context(contextlib.redirect_stdout(noise))
        yield screen


@contextlib.contextmanager
def _duplicate(descriptor: int, stream: TextIO) -> Iterator[TextIO]:
    with os.fdopen(os.dup(descriptor), "w", encoding=stream.encoding, errors="backslashreplace") as copy:
        yield copy


@contextlib.contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


def _remove_if_empty(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
