"""How a pool may behave: its size, its pace and its patience. Only values and their bounds, no behaviour."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PoolConfig(BaseModel):
    """The settings of one pool; unknown keys, and text where a number belongs, are refused.

    ``min_dispatch_delay_ms == max_dispatch_delay_ms`` is a fixed delay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    pool_size: int = Field(default=1, ge=1, description="Most requests in flight.")
    min_dispatch_delay_ms: Milliseconds = Field(
        default=0.0, description="Floor of the delay between two dispatches."
    )
    max_dispatch_delay_ms: float = Field(
        default=5000.0, gt=0, allow_inf_nan=False, description="Ceiling of the delay between two dispatches."
    )
    backoff_multiplier: float = Field(
        default=2.0, gt=1, allow_inf_nan=False, description="Growth of the delay on a capacity error."
    )
    recovery_step_ms: Milliseconds = Field(default=50.0, description="Taken off the delay on success.")
    max_capacity_retry_seconds: float = Field(
        default=3600.0, gt=0, allow_inf_nan=False, description="One row's budget for retries."
    )
    transient_attempts: int = Field(
        default=5, ge=1, description="Tries of one row that may end in a transient error (500, reset, ...)."
    )
    shared: bool = Field(
        default=False,
        description="Divide `pool_size` among all processes that use the same model on the same Landscape.",
    )
    throttle: Literal["adaptive", "aimd", "fixed"] = Field(
        default="adaptive", description="What finds the pace between the two delays."
    )

    @model_validator(mode="after")
    def _delays_fit(self) -> Self:
        if self.min_dispatch_delay_ms > self.max_dispatch_delay_ms:
            raise ValueError(
                f"min_dispatch_delay_ms ({self.min_dispatch_delay_ms:g}) cannot exceed "
                f"max_dispatch_delay_ms ({self.max_dispatch_delay_ms:g})"
            )
        if self.min_dispatch_delay_ms == 0 and self.recovery_step_ms == 0:
            raise ValueError(
                "min_dispatch_delay_ms and recovery_step_ms cannot both be 0: the delay could never leave zero"
            )
        return self
