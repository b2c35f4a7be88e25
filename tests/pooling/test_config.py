"""A pool's settings: defaults, bounds and the words of refusals."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from elspeth_dagster.pooling import PoolConfig


def refusal(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        PoolConfig.model_validate(settings)
    return str(caught.value)


def test_the_defaults_are_those_of_the_specification() -> None:
    assert PoolConfig().model_dump() == {
        "pool_size": 1,
        "min_dispatch_delay_ms": 0,
        "max_dispatch_delay_ms": 5000,
        "backoff_multiplier": 2.0,
        "recovery_step_ms": 50,
        "max_capacity_retry_seconds": 3600,
        "transient_attempts": 5,
        "shared": False,
        "throttle": "adaptive",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pool_size", 0),
        ("pool_size", 1.5),
        ("pool_size", "4"),
        ("pool_size", True),
        ("min_dispatch_delay_ms", -1),
        ("min_dispatch_delay_ms", float("nan")),
        ("max_dispatch_delay_ms", 0),
        ("max_dispatch_delay_ms", float("inf")),
        ("backoff_multiplier", 1),
        ("backoff_multiplier", float("inf")),
        ("recovery_step_ms", -0.1),
        ("recovery_step_ms", "50"),
        ("max_capacity_retry_seconds", 0),
        ("transient_attempts", 0),
        ("throttle", "magic"),
        ("pool_sise", 4),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field: str, value: object) -> None:
    assert field in refusal(**{field: value})


def test_a_floor_above_the_ceiling_names_both_fields() -> None:
    message = refusal(min_dispatch_delay_ms=600, max_dispatch_delay_ms=500)

    assert "min_dispatch_delay_ms" in message
    assert "max_dispatch_delay_ms" in message
    assert "cannot exceed" in message


def test_a_delay_that_could_never_leave_zero_is_refused() -> None:
    message = refusal(min_dispatch_delay_ms=0, recovery_step_ms=0)

    assert "min_dispatch_delay_ms" in message
    assert "recovery_step_ms" in message


def test_a_fixed_delay_and_a_recovery_of_zero_above_a_floor_are_allowed() -> None:
    assert PoolConfig(min_dispatch_delay_ms=100, max_dispatch_delay_ms=100).min_dispatch_delay_ms == 100
    assert PoolConfig(min_dispatch_delay_ms=1, recovery_step_ms=0).recovery_step_ms == 0


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        PoolConfig().pool_size = 2  # type: ignore[misc]
