"""Run an aggregate that decides by itself: one batch after another, each recorded as fired before it is worked on."""

from __future__ import annotations

import time

from elspeth_dagster.nodes.aggregate import AggregateConfig
from elspeth_dagster.nodes.batch_run import BatchDecider
from elspeth_dagster.runtime.batch_end import settle_batch
from elspeth_dagster.runtime.batch_feed import BatchFeed
from elspeth_dagster.runtime.step_run import row_of
from elspeth_dagster.runtime.unit_buffer import UnitBuffer
from elspeth_dagster.runtime.work import Work


def run_aggregate(work: Work, config: AggregateConfig, decider: BatchDecider, *, is_foreign: bool) -> None:
    """Cut the waiting tokens into batches and make of each what ``decider`` says; ``is_foreign``: by others' code.

    Raises:
        NodeStoppedError: too many rows failed, a batch is too large, or the run is to end; what was made is recorded.
    """
    buffer = UnitBuffer(work)
    try:
        for batch in BatchFeed(work, config, decider.admit, submit=buffer.add).batches():
            work.check_stop()
            if is_foreign:
                buffer.flush()  # what somebody else's code does may reach out of this process: its batch is on record
            began_s = time.perf_counter()
            result = decider.decide_batch([row_of(token) for token in batch.members], batch.key)
            duration_ms = (time.perf_counter() - began_s) * 1000
            buffer.add(settle_batch(work, config, batch, result, duration_ms=duration_ms))
            work.judge_errors(config.max_error_rate)
    finally:
        buffer.send()
    work.flush()
