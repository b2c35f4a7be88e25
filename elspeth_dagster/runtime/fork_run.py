"""Run a fork: every token ends, and goes on as one token in each branch, with the same row."""

from __future__ import annotations

from elspeth_dagster.landscape.records import Unit
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, count_waiting
from elspeth_dagster.model import ids
from elspeth_dagster.model.outcome import Outcome, Relation
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.runtime.children import MadeToken, end_parent, make_token
from elspeth_dagster.runtime.work import Work, pages


def run_fork(work: Work, config: ForkConfig) -> None:
    """Fork every waiting token, in order.

    Raises:
        NodeStoppedError: the run is to end; what was forked is recorded.
    """
    work.handle.rows_total = count_waiting(work.database, work.waiting())
    branches = config.ports()
    # Each token leaves several records in each branch: smaller pages keep the units as small as those of other nodes.
    for page in pages(work.tokens(with_bodies=False), max(1, PAGE_TOKENS // (1 + len(branches)))):
        work.check_stop()
        attempts = work.attempts([token.token_id for token in page])
        unit, now = Unit(), work.now()
        for token in page:
            _fork(work, unit, token, branches, attempt=attempts.get(token.token_id, 0) + 1, now=now)
        work.submit(unit)
    work.flush()


def _fork(work: Work, unit: Unit, token: Token, branches: tuple[str, ...], *, attempt: int, now: str) -> None:
    end_parent(work, unit, token, Outcome.FORKED, attempt=attempt, started_at=now, now=now)
    for index, branch in enumerate(branches):
        made = MadeToken(
            token_id=ids.branch_token_id(token.token_id, branch),
            row_id=token.row_id,
            order_key=ids.branch_order_key(token.order_key, index),
            branch=branch,
            salt_id=token.salt_id,
            row_hash=token.row_hash,
            port=branch,
        )
        make_token(
            work, unit, made, parents=[token.token_id], relation=Relation.FORK, started_at=now, now=now
        )
