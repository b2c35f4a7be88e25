"""placeholder"""

from __future__ import annotations

from collections.abc import Mapping

from elspeth_dagster.pooling.config import PoolConfig


class AdaptiveController:
    """placeholder"""

    slows_down = False

    def __init__(self, config: PoolConfig) -> None:
        self.delay_ms = float(config.min_dispatch_delay_ms)
        self._next_s = 0.0

    def next_send(self, now: float, in_flight: int) -> float | None:
        return max(0.0, self._next_s - now)

    def sent(self, now: float) -> None:
        self._next_s = now + self.delay_ms / 1000

    def succeeded(self, now: float, sent_at: float, headers: Mapping[str, str]) -> None: ...

    def rejected(
        self, now: float, sent_at: float, retry_after: float | None, headers: Mapping[str, str]
    ) -> None: ...

    def dropped(self, now: float, sent_at: float) -> None: ...
