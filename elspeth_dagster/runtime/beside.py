"""Do something beside: in a thread that nobody waits for at the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def beside(
    work: Callable[[], T], *, name: str = "elspeth-beside", on_end: Callable[[], object] | None = None
) -> Future[T]:
    """Call ``work`` in a daemon thread: a step that is interrupted twice ends, whatever its threads are at.

    ``on_end`` is called there when the result is known.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            result.set_exception(error)
        finally:
            if on_end is not None:
                on_end()

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
