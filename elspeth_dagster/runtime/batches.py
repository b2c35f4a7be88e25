"""A batch that fired, and what is durable then, in one unit.

Until it ends it is `executing`: the next execution runs it again, under its own id, with the salt and the record that
are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elspeth_dagster.landscape.batches import recorded_batch
from elspeth_dagster.landscape.records import Record, Unit, opened, sealed
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.outcome import BatchStatus
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.model.token import Token
from elspeth_dagster.nodes.batching import Cut
from elspeth_dagster.runtime.recording import payload
from elspeth_dagster.runtime.work import Work

IDS_AT_ONCE = 1_000
"""Parameters of one query."""


@dataclass(slots=True, eq=False)
class Batch:
    """A batch that fired. ``record`` is its open record; ``attempts`` says how often a token was at this node before.

    Where it is asked about, ``states`` are the open states of its members, and of ``output``, the token that one answer
    about all of them will become; ``contexts`` is what the pool says of each; ``pending`` goes with the batch's end.
    """

    batch_id: str
    key: Row
    members: Sequence[Token]
    salt: bytes
    record: Record
    fired_at: str
    trigger: str
    attempts: dict[str, int]
    output: Token | None = None
    states: dict[str, Record] = field(default_factory=dict)
    contexts: dict[str, Mapping[str, JSON]] = field(default_factory=dict)
    pending: Unit = field(default_factory=Unit)

    @property
    def last(self) -> Token:
        """The member behind which its outputs stand."""
        return self.members[-1]

    def attempt(self, token: Token) -> int:
        """Which visit of a member to this node it is, from 1."""
        return self.attempts.get(token.token_id, 0) + 1


def fire(work: Work, cut: Cut[Token], *, fresh_salt: bytes) -> tuple[Batch, Unit] | None:
    """The batch, and what must be durable before anything is made of it; None if an earlier execution ended it."""
    handle, now = work.handle, work.now()
    batch_id = ids.batch_id(handle.run_key, handle.node_id, cut.index)
    earlier = None if handle.attempt == 1 else recorded_batch(work.database, batch_id)
    if earlier is not None and earlier.record is None:
        return None
    unit = Unit()
    salt = fresh_salt if earlier is None else earlier.salt
    unit.insert("row_salts", (batch_id, handle.run_id, salt))
    group_hash = payload(unit, batch_id, salt, canonical_bytes(cut.key)) if cut.key else None
    record = opened(
        batch_id, handle.run_id, handle.node_id, cut.index, group_hash, batch_id, cut.trigger.value,
        BatchStatus.EXECUTING.value, len(cut.members), None, cut.age_seconds, None, now, None, handle.execution_id,
    )  # fmt: skip
    unit.insert("batches", record)
    for ordinal, token in enumerate(cut.members):
        unit.insert(
            "batch_members", sealed("batch_members", batch_id, ordinal, token.token_id, handle.execution_id)
        )
    if earlier is not None and earlier.record is not None:
        record = earlier.record  # what is there is what is closed
    attempts = _attempts(work, cut.members)
    return Batch(batch_id, cut.key, cut.members, salt, record, now, cut.trigger.value, attempts), unit


def _attempts(work: Work, members: Sequence[Token]) -> dict[str, int]:
    attempts: dict[str, int] = {}
    for start in range(0, len(members), IDS_AT_ONCE):
        attempts |= work.attempts([token.token_id for token in members[start : start + IDS_AT_ONCE]])
    return attempts
