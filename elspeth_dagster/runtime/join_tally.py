"""What one execution of a join counted: decisions, orders of arrival, lost branches and waits, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from elspeth_dagster.model.row import JSON
from elspeth_dagster.runtime.histogram import Histogram

ORDERS_MAX: Final = 24  # all orders of four branches; of more branches the first that were seen
OTHERS: Final = "other orders"
ARROW: Final = " > "


@dataclass(slots=True)
class JoinTally:
    """``offsets_ms`` are of the last arrival, by the order of the branches; ``lost`` by branch and why."""

    policy: str
    merge_strategy: str
    merged: int = 0
    failed: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    offsets_ms: dict[str, Histogram] = field(default_factory=dict)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    wait_ms: Histogram = field(default_factory=Histogram)
    wait_max_ms: float | None = None

    def arrived(self, branches: Sequence[str], wait_ms: float) -> None:
        """Count an order of arrival, and how long the first had to wait for the last."""
        order = ARROW.join(branches)
        if order not in self.orders and len(self.orders) >= ORDERS_MAX:
            order = OTHERS
        self.orders[order] += 1
        self.offsets_ms.setdefault(order, Histogram()).add(wait_ms)
        self.wait_ms.add(wait_ms)
        self.wait_max_ms = max(wait_ms, self.wait_max_ms or 0.0)

    def lose(self, branch: str, why: str) -> None:
        """Count a branch that did not arrive."""
        self.lost.setdefault(branch, Counter())[why] += 1

    def table(self) -> list[dict[str, str | int | float | None]]:
        """The orders of arrival, the frequent ones first."""
        return [
            {"order": order, "count": count, "median_offset_ms": self.offsets_ms[order].percentile(0.5)}
            for order, count in self.orders.most_common()
        ]

    def losses(self) -> dict[str, JSON]:
        """How often each branch was lost, and why."""
        return {branch: dict(sorted(why.items())) for branch, why in sorted(self.lost.items())}

    def waits(self) -> Mapping[str, float | None]:
        """How long the first arrival waited for the one that decided, in milliseconds."""
        return {
            "wait_p50_ms": self.wait_ms.percentile(0.5),
            "wait_p95_ms": self.wait_ms.percentile(0.95),
            "wait_max_ms": self.wait_max_ms,
        }

    def metrics(self) -> dict[str, JSON]:
        """Everything, for the execution's record."""
        return {
            "policy": self.policy,
            "merge_strategy": self.merge_strategy,
            "merged": self.merged,
            "failed": self.failed,
            "arrival_order": [dict(row) for row in self.table()],
            "branches_lost": self.losses(),
            **self.waits(),
        }
