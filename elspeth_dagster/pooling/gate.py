"""When the pace lets the next call leave, and how long it has held one back.

Runs on the pool's event loop, which is what owns the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from elspeth_dagster.pooling.controller import Controller


class Gate:
    """Asks the controller; where only the pace forbids a call, ``look_again`` is called when that is over."""

    def __init__(
        self, controller: Controller, *, loop: asyncio.AbstractEventLoop, look_again: Callable[[], None]
    ) -> None:
        self._controller = controller
        self._loop = loop
        self._look_again = look_again
        self._alarm: asyncio.TimerHandle | None = None
        self._held_since_s: float | None = None

    def is_open(self, in_flight: int) -> bool:
        """Whether a call may leave now.

        Raises:
            RuntimeError: it may not, though nothing is in flight whose end could change that.
        """
        now_s = self._loop.time()
        wait_s = self._controller.next_send(now_s, in_flight)
        if wait_s is not None and wait_s <= 0:
            return True
        if self._held_since_s is None:
            self._held_since_s = now_s
        if wait_s is not None:
            self._look_again_at(now_s + wait_s)
        elif in_flight == 0:
            raise RuntimeError("The controller allows nothing in flight: no row would ever be sent.")
        return False

    def let_go(self, now_s: float) -> float:
        """A call leaves: for how many seconds it was held back by the pace alone."""
        held_s = 0.0 if self._held_since_s is None else now_s - self._held_since_s
        self._held_since_s = None
        return held_s

    def nobody_waits(self) -> None:
        """Nothing is ready, or something else than the pace forbids it: no time is counted."""
        self._held_since_s = None

    def _look_again_at(self, at_s: float) -> None:
        if self._alarm is not None:
            if self._alarm.when() <= at_s:
                return  # it looks again by itself, and finds then how long is left
            self._alarm.cancel()
        self._alarm = self._loop.call_at(at_s, self._alarmed)

    def _alarmed(self) -> None:
        self._alarm = None
        self._look_again()
