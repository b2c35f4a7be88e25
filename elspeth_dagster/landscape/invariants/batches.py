"""A batch is whole: members and outputs are numbered without gap, and a new output has all members as parents."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.schema import (
    batch_members,
    batch_outputs,
    batches,
    token_outcomes,
    token_parents,
)
from elspeth_dagster.model.outcome import BatchStatus, Outcome, Relation


def batches_are_whole(examined: Examined) -> Iterator[Finding]:
    """Every batch has the members that it counted, and the outputs; what it made leads to all members."""
    yield from _counted(examined, batch_members, batches.c.member_count, "members")
    yield from _counted(examined, batch_outputs, sa.func.coalesce(batches.c.output_count, 0), "outputs")
    yield from _parents(examined)
    yield from _members_ends(examined)


def _counted(
    examined: Examined, table: sa.Table, expected: sa.ColumnElement[int], what_they_are: str
) -> Iterator[Finding]:
    count, last = sa.func.count(table.c.ordinal), sa.func.max(table.c.ordinal)
    question = (
        sa.select(batches.c.batch_id, expected.label("expected"), count.label("found"))
        .select_from(batches.outerjoin(table, table.c.batch_id == batches.c.batch_id))
        .where(batches.c.run_id == examined.run.run_id)
        .group_by(batches.c.batch_id, expected)
        .having(sa.or_(count != expected, sa.and_(count > 0, last != count - 1)))
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for batch_id, wanted, found in connection.execute(question):
            what = f"It has {found} {what_they_are} of {wanted}, or their numbers have a gap."
            yield Finding("batch_whole", table.name, batch_id, what)


def _parents(examined: Examined) -> Iterator[Finding]:
    """An output that is no member was made by the batch, of all its members."""
    itself = batch_members.alias("itself")
    linked = sa.func.count(token_parents.c.parent_token_id)
    question = (
        sa.select(batch_outputs.c.token_id, batches.c.member_count, linked)
        .select_from(
            batches.join(batch_outputs, batch_outputs.c.batch_id == batches.c.batch_id)
            .outerjoin(
                itself,
                sa.and_(
                    itself.c.batch_id == batches.c.batch_id, itself.c.token_id == batch_outputs.c.token_id
                ),
            )
            .outerjoin(
                batch_members.join(
                    token_parents,
                    sa.and_(
                        token_parents.c.parent_token_id == batch_members.c.token_id,
                        token_parents.c.ordinal == batch_members.c.ordinal,
                        token_parents.c.relation == Relation.BATCH.value,
                    ),
                ),
                sa.and_(
                    batch_members.c.batch_id == batches.c.batch_id,
                    token_parents.c.token_id == batch_outputs.c.token_id,
                ),
            )
        )
        .where(batches.c.run_id == examined.run.run_id, itself.c.token_id.is_(None))
        .group_by(batch_outputs.c.token_id, batches.c.member_count)
        .having(linked != batches.c.member_count)
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for token_id, members, found in connection.execute(question):
            what = f"It was made of a batch of {members}, and {found} of them are its parents."
            yield Finding("batch_parents", "token_parents", token_id, what)


def _members_ends(examined: Examined) -> Iterator[Finding]:
    """A member of a batch that was completed is an output, too, or was consumed; of one that failed, it was not."""
    question = (
        sa.select(batch_members.c.token_id, batches.c.status, token_outcomes.c.outcome)
        .select_from(
            batches.join(batch_members, batch_members.c.batch_id == batches.c.batch_id)
            .outerjoin(
                token_outcomes,
                sa.and_(
                    token_outcomes.c.token_id == batch_members.c.token_id,
                    token_outcomes.c.outcome == Outcome.CONSUMED_IN_BATCH.value,
                    token_outcomes.c.node_id == batches.c.node_id,
                ),
            )
            .outerjoin(
                batch_outputs,
                sa.and_(
                    batch_outputs.c.batch_id == batches.c.batch_id,
                    batch_outputs.c.token_id == batch_members.c.token_id,
                ),
            )
        )
        .where(
            batches.c.run_id == examined.run.run_id,
            sa.or_(
                sa.and_(
                    batches.c.status == BatchStatus.COMPLETED.value,
                    token_outcomes.c.outcome.is_(None),
                    batch_outputs.c.token_id.is_(None),
                ),
                sa.and_(batches.c.status == BatchStatus.FAILED.value, token_outcomes.c.outcome.is_not(None)),
            ),
        )
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for token_id, status, outcome in connection.execute(question):
            said = "neither goes on nor was consumed" if outcome is None else "was consumed"
            what = f"It is a member of a batch that was {status}, and {said}."
            yield Finding("batch_members", "batch_members", token_id, what)
