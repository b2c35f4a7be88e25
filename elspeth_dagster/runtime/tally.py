"""What one execution of a node counted, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from elspeth_dagster.model.row import JSON
from elspeth_dagster.runtime.histogram import Histogram
from elspeth_dagster.runtime.join_tally import JoinTally

EXAMPLES_PER_CODE_MAX: Final = 3


@dataclass(slots=True)
class Tally:
    """Counts and measurements; ``latency_ms`` is of answered calls, ``buffer_wait_ms`` of released rows.

    ``rows_late`` came to a join that was decided: they are neither out nor failed.
    """

    rows_in: int = 0
    rows_out: int = 0
    rows_failed: int = 0
    rows_late: int = 0
    rows_reused: int = 0
    by_port: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced_answers: int = 0
    uncounted_answers: int = 0
    latency_ms: Histogram = field(default_factory=Histogram)
    buffer_wait_ms: Histogram = field(default_factory=Histogram)
    joins: JoinTally | None = None

    def failed(self, code: str, token_id: str) -> None:
        """Count a failed row, and keep a few as examples."""
        self.rows_failed += 1
        self.failures[code] += 1
        kept = self.examples.setdefault(code, [])
        if len(kept) < EXAMPLES_PER_CODE_MAX:
            kept.append(token_id)

    def paid(
        self, *, prompt_tokens: int | None, completion_tokens: int | None, cost_usd: Decimal | None
    ) -> None:
        """Count an answer's usage; what the provider did not say is counted as unpriced, not as nothing."""
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0
        self.uncounted_answers += prompt_tokens is None or completion_tokens is None
        if cost_usd is None:
            self.unpriced_answers += 1
        else:
            self.cost_usd = (self.cost_usd or Decimal(0)) + cost_usd

    def usage(self) -> dict[str, JSON] | None:
        """Calls, tokens and cost; None for a node that called nobody."""
        if not self.calls:
            return None
        return {
            "calls": dict(sorted(self.calls.items())),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
            "unpriced_answers": self.unpriced_answers,
        }

    def metrics(self, *, seconds: float) -> dict[str, JSON]:
        """Throughput, latencies, and where the rows went."""
        rows_per_s = self.rows_in / seconds if seconds > 0 else None
        return {
            "seconds": round(seconds, 3),
            "rows_per_second": None if rows_per_s is None else float(f"{rows_per_s:.4g}"),
            "latency_p50_ms": self.latency_ms.percentile(0.5),
            "latency_p95_ms": self.latency_ms.percentile(0.95),
            "buffer_wait_p95_ms": self.buffer_wait_ms.percentile(0.95),
            "by_port": dict(sorted(self.by_port.items())),
            "failures": dict(self.failures.most_common()),
            **({} if self.joins is None else {"late": self.rows_late, "joins": self.joins.metrics()}),
        }
