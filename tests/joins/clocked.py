"""A step that takes as long as its row says, by a clock that the test owns."""

from __future__ import annotations

from typing import Any

from tests.noderuns import StepClock

CLOCK = StepClock()


def takes(row: dict[str, Any]) -> dict[str, Any]:
    CLOCK.pass_ms(row["n"])
    return row
