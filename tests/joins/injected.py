"""Steps that do what the row tells them: take their time, fail, set fields. Their time is the test's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.noderuns import StepClock

CLOCK = StepClock()
STEPS_MAX = 60


def act(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """What ``row["plan"][name]`` says: ``ms`` to take, ``fail``, fields to ``set`` and to ``drop``."""
    plan = row["plan"].get(name, {})
    CLOCK.pass_ms(plan.get("ms", 0))
    if plan.get("fail"):
        raise ValueError(f"{name} was told to fail")
    kept = {field: value for field, value in row.items() if field not in plan.get("drop", ())}
    return {**kept, **plan.get("set", {})}


def _step(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def step(row: dict[str, Any]) -> dict[str, Any]:
        return act(name, row)

    return step


for _number in range(STEPS_MAX):
    globals()[f"s{_number}"] = _step(f"s{_number}")


def step(number: int, *ports: str, **more: Any) -> dict[str, Any]:
    """The declaration of step ``s<number>``."""
    return {"kind": "python", "from": list(ports), "call": f"tests.joins.injected:s{number}", **more}
