"""Steps that do what the row tells them: take their time, fail, set fields. Their time is the test's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.noderuns import StepClock

CLOCK = StepClock()
STEPS_MAX = 60


def act(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """What the row's plan says of ``name``, in the time that it says."""
    ms, made = played(name, row)
    CLOCK.pass_ms(ms)
    if made is None:
        raise ValueError(f"{name} was told to fail")
    return made


def played(name: str, row: dict[str, Any]) -> tuple[float, dict[str, Any] | None]:
    """The milliseconds that ``name`` takes and the row that it gives; None: it fails."""
    plan = plan_of(row).get(name, {})
    kept = {field: value for field, value in row.items() if field not in plan.get("drop", ())}
    return plan.get("ms", 0), None if plan.get("fail") else {**kept, **plan.get("set", {})}


def plan_of(row: dict[str, Any]) -> dict[str, Any]:
    """``row["plan"]``: what each step does, as ``ms``, ``fail``, ``set`` and ``drop``; also of a nested row."""
    while "plan" not in row:
        row = next(value for value in row.values() if isinstance(value, dict))
    plan: dict[str, Any] = row["plan"]
    return plan


def _step(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def step(row: dict[str, Any]) -> dict[str, Any]:
        return act(name, row)

    return step


for _number in range(STEPS_MAX):
    globals()[f"s{_number}"] = _step(f"s{_number}")


def step(number: int, *ports: str, **more: Any) -> dict[str, Any]:
    """The declaration of step ``s<number>``."""
    return {"kind": "python", "from": list(ports), "call": f"tests.joins.injected:s{number}", **more}
