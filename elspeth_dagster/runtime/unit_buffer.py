"""Gather small units into larger ones: a commit costs the same for a batch of three rows as for a thousand."""

from __future__ import annotations

from typing import Final

from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.runtime.work import Work

RECORDS_TOGETHER: Final = 3_000
"""About as many as a page of rows leaves behind at other nodes."""


class UnitBuffer:
    """What is added becomes durable in order, whole units at a time; nothing is sent before ``flush`` or enough."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._unit = Unit()

    def add(self, unit: Unit) -> None:
        """Keep ``unit``; send everything once there is enough."""
        self._unit.absorb(unit)
        if len(self._unit) >= RECORDS_TOGETHER:
            self.send()

    def send(self) -> None:
        """Hand what is kept to the writer."""
        unit, self._unit = self._unit, Unit()
        if len(unit):
            self._work.submit(unit)

    def flush(self) -> None:
        """Wait until everything that was added is durable."""
        self.send()
        self._work.flush()
