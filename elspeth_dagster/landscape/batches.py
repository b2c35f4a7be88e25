"""A batch that an earlier execution fired: what a later one goes on with."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.records import Record
from elspeth_dagster.landscape.schema import batches, row_salts
from elspeth_dagster.model.outcome import BatchStatus


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """A batch that an earlier execution fired. ``record`` is its open form, None once it has ended."""

    record: Record | None
    salt: bytes


@patient
def recorded_batch(database: Database, batch_id: str) -> RecordedBatch | None:
    """What an earlier execution recorded of a batch; None if it was not fired yet.

    The salt of a batch that was purged is empty: nothing more is to be hashed with it.
    """
    question = (
        sa.select(*batches.columns, row_salts.c.salt)
        .select_from(batches.outerjoin(row_salts, row_salts.c.salt_id == batches.c.salt_id))
        .where(batches.c.batch_id == batch_id)
    )
    with database.look_up() as connection:
        found = connection.execute(question).first()
    if found is None:
        return None
    is_open = found.status == BatchStatus.EXECUTING.value
    return RecordedBatch(tuple(found[:-1]) if is_open else None, found.salt or b"")
