"""A transform's way out: gives finished rows to its port, and counts them, so that few enough are unreleased."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from elspeth_dagster.pooling.engine import SLICE_S
from elspeth_dagster.pooling.ports import HoldingPort, OutputPort


class Outlet:
    """Counts rows from acceptance to release. One lock, that of ``_changed``, owns the numbers.

    ``emit``, ``dropped`` and ``end`` are called on the loop, the rest from any thread. ``broken`` is called on the
    loop, once, with what the port itself raised; nothing is emitted after that.
    """

    def __init__(
        self, port: OutputPort[object], *, max_pending: int, broken: Callable[[BaseException], None]
    ) -> None:
        self.accepted = 0
        self.emitted = 0
        self.given_up = 0
        self._port = port
        self._max_pending = max_pending
        self._broken = broken
        self._is_broken = False
        self._unreleased = 0
        self._changed = threading.Condition()
        self._holder = port if isinstance(port, HoldingPort) else None
        if self._holder is not None:
            self._holder.attach(self.released)

    @property
    def has_room(self) -> bool:
        """Whether another row may come in now."""
        return self._unreleased < self._max_pending

    # From any thread

    def reserve(self, is_over: Callable[[], bool]) -> bool:
        """Wait for room and take it for one row; False if ``is_over`` came first."""
        with self._changed:
            while not is_over():
                if self.has_room:
                    self._unreleased += 1
                    return True
                self._changed.wait(SLICE_S)
        return False

    def count_accepted(self) -> None:
        """The row that room was reserved for is in."""
        with self._changed:
            self.accepted += 1

    def released(self) -> None:
        """One row less is unreleased: it was taken, or never came in."""
        with self._changed:
            self._unreleased -= 1
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, in slices."""
        with self._changed:
            while not condition():
                self._changed.wait(SLICE_S)

    # On the loop

    def emit(self, entries: object) -> None:
        """Give one row to the port."""
        if self._is_broken:
            self.dropped()
            return
        try:
            self._port.emit(entries)
        except BaseException as error:  # noqa: BLE001 - whatever a port raises, the loop and other batches go on
            self._is_broken = True
            self.dropped()
            self._broken(error)
            return
        with self._changed:
            self.emitted += 1
            self._unreleased -= self._holder is None
            self._changed.notify_all()

    def dropped(self) -> None:
        """One row was given up."""
        with self._changed:
            self.given_up += 1
            self._unreleased -= 1
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        """Nothing comes any more; tell the port, and whoever waits."""
        with suppress(Exception):  # a port that cannot take the news has nobody to tell
            if error is not None:
                self._port.fail(error)
            elif self._holder is not None:
                self._holder.end()
        with self._changed:
            self._changed.notify_all()
