"""The numbers of one batch, and their public form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from elspeth_dagster.pooling.config import PoolConfig

_MS_PER_S = 1000.0


@dataclass(slots=True)
class BatchCounters:
    """Counted on the loop, read anywhere.

    ``capacity_retries`` counts capacity errors, ``successes`` calls that were answered. ``throttle_s`` is the
    time in which a row could have been sent but for the pace or its own wait after an error.
    """

    capacity_retries: int = 0
    successes: int = 0
    peak_delay_ms: float = 0.0
    throttle_s: float = 0.0
    max_concurrent: int = 0
    delay_at_completion_ms: float | None = None


class ConfigStats(TypedDict):
    """What the pool was told, and the delay that it had found when the batch ended."""

    pool_size: int
    max_capacity_retry_seconds: float
    dispatch_delay_at_completion_ms: float


class CountedStats(TypedDict):
    """What happened in one batch."""

    capacity_retries: int
    successes: int
    peak_delay_ms: float
    current_delay_ms: float
    total_throttle_time_ms: float
    max_concurrent_reached: int


class PoolStats(TypedDict):
    """The statistics of one batch; plain JSON."""

    pool_config: ConfigStats
    pool_stats: CountedStats


def public_stats(config: PoolConfig, counters: BatchCounters, *, delay_ms: float) -> PoolStats:
    """The public form of ``counters``; a batch still under way sees the pool's present ``delay_ms``."""
    at_end_ms = counters.delay_at_completion_ms
    current_ms = delay_ms if at_end_ms is None else at_end_ms
    return PoolStats(
        pool_config=ConfigStats(
            pool_size=config.pool_size,
            max_capacity_retry_seconds=config.max_capacity_retry_seconds,
            dispatch_delay_at_completion_ms=current_ms,
        ),
        pool_stats=CountedStats(
            capacity_retries=counters.capacity_retries,
            successes=counters.successes,
            peak_delay_ms=max(counters.peak_delay_ms, current_ms),
            current_delay_ms=current_ms,
            total_throttle_time_ms=counters.throttle_s * _MS_PER_S,
            max_concurrent_reached=counters.max_concurrent,
        ),
    )
