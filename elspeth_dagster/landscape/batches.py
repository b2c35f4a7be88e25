"""Batches as they are recorded: one to go on with, and a node's all together."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.records import Record
from elspeth_dagster.landscape.schema import batches, row_salts
from elspeth_dagster.model.outcome import BatchStatus


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """A batch that an earlier execution fired. ``record`` is its open form, None once it has ended."""

    record: Record | None
    salt: bytes


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A node's batches that were fired by one trigger; the smallest and the largest of them, in members."""

    trigger: str
    batches: int
    completed: int
    failed: int
    members: int
    members_min: int
    members_max: int
    outputs: int


def recorded_batch(database: Database, batch_id: str) -> RecordedBatch | None:
    """What an earlier execution recorded of a batch; None if it was not fired yet.

    The salt of a batch that was purged is empty: nothing more is to be hashed with it.
    """
    question = (
        sa.select(*batches.columns, row_salts.c.salt)
        .select_from(batches.outerjoin(row_salts, row_salts.c.salt_id == batches.c.salt_id))
        .where(batches.c.batch_id == batch_id)
    )
    with database.read() as connection:
        found = connection.execute(question).first()
    if found is None:
        return None
    is_open = found.status == BatchStatus.EXECUTING.value
    return RecordedBatch(tuple(found[:-1]) if is_open else None, found.salt or b"")


def batch_counts(database: Database, *, run_id: str, node_id: str) -> tuple[BatchCounts, ...]:
    """A node's batches by trigger, the most frequent first."""
    count = sa.func.count()
    of_status = [
        sa.func.coalesce(sa.func.sum(sa.case((batches.c.status == status.value, 1), else_=0)), 0)
        for status in (BatchStatus.COMPLETED, BatchStatus.FAILED)
    ]
    members = batches.c.member_count
    question = (
        sa.select(
            batches.c.trigger_type,
            count,
            *of_status,
            sa.func.sum(members),
            sa.func.min(members),
            sa.func.max(members),
            sa.func.coalesce(sa.func.sum(batches.c.output_count), 0),
        )
        .where(batches.c.run_id == run_id, batches.c.node_id == node_id)
        .group_by(batches.c.trigger_type)
        .order_by(count.desc(), batches.c.trigger_type)
    )
    with database.read() as connection:
        found = connection.execute(question).all()
    return tuple(BatchCounts(trigger, *(int(number) for number in numbers)) for trigger, *numbers in found)
