"""What an llm node may spend in a run, all of its executions together; when it is spent, no further call starts.

Calls in flight end and are recorded, so up to ``pool_size`` answers come on top. An answer whose usage or price is not
known cannot be counted: a budget that cannot be kept stops the node as well, rather than being overrun unseen.
"""

from __future__ import annotations

from decimal import Decimal

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.spending import Spent, spent_at
from elspeth_dagster.model.outcome import BUDGET_SPENT
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.runtime.work import Work


class Budget:
    """The bounds of one node, and what its earlier executions took of them. Asked on the pool's loop only."""

    def __init__(self, work: Work, config: LlmConfig) -> None:
        self._work = work
        self._usd = None if config.budget_usd is None else Decimal(str(config.budget_usd))
        self._tokens = config.budget_tokens
        self._before = Spent()
        if self._is_bounded and work.handle.attempt > 1:
            self._before = spent_at(work.database, run_id=work.handle.run_id, node_id=work.node.node_id)

    @property
    def _is_bounded(self) -> bool:
        return self._usd is not None or self._tokens is not None

    def refuse_spent(self) -> None:
        """Make sure that a call may start.

        Raises:
            NodeStoppedError: with ``budget_spent``.
        """
        if not self._is_bounded:
            return
        tally, before = self._work.tally, self._before
        usd = before.usd + (tally.cost_usd or Decimal(0))
        tokens = before.tokens + tally.prompt_tokens + tally.completion_tokens
        if self._usd is not None and usd >= self._usd:
            raise self._stopped(f"The budget of {self._usd} USD is spent: {usd.normalize():f} USD so far.")
        if self._tokens is not None and tokens >= self._tokens:
            raise self._stopped(f"The budget of {self._tokens:,} tokens is spent: {tokens:,} so far.")
        if self._is_unknown():
            raise self._stopped(
                "The budget cannot be kept: an answer came without usage, or its model has no price."
            )

    def _is_unknown(self) -> bool:
        tally, before = self._work.tally, self._before
        if self._usd is not None:
            return bool(tally.unpriced_answers or before.unpriced)
        return bool(tally.uncounted_answers or before.uncounted)

    def _stopped(self, what: str) -> NodeStoppedError:
        return NodeStoppedError(
            what,
            code=BUDGET_SPENT,
            where=f"step {self._work.node.node_id!r}",
            hint="raise budget_usd or budget_tokens, then resume: answers are kept, the rest of the rows waits",
        )
