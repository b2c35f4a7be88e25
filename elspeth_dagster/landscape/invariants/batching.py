"""Batches are whole: members and outputs are counted without gap, and every output comes of all members."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.outcomes import IS_TERMINAL
from elspeth_dagster.landscape.schema import (
    batch_members,
    batch_outputs,
    batches,
    node_states,
    token_outcomes,
    token_parents,
    tokens,
)
from elspeth_dagster.model.outcome import BatchStatus, Outcome, Relation


def batch_counts(examined: Examined) -> Iterator[Finding]:
    """A batch has as many members, and once it ended as many outputs, as it says, numbered from 0; batches too."""
    for table, said in ((batch_members, batches.c.member_count), (batch_outputs, batches.c.output_count)):
        found, last = sa.func.count(table.c.ordinal), sa.func.coalesce(sa.func.max(table.c.ordinal), -1)
        question = (
            sa.select(batches.c.batch_id, said.label("said"), found.label("found"), last.label("last"))
            .select_from(batches.outerjoin(table, table.c.batch_id == batches.c.batch_id))
            .where(batches.c.run_id == examined.run.run_id)
            .group_by(batches.c.batch_id, said)
            .having(sa.or_(found != sa.func.coalesce(said, 0), last != found - 1))
        )
        yield from each(
            examined,
            question,
            check="batch_counts",
            table=table.name,
            what=lambda of: f"{of.found} are there, numbered up to {of.last}; the batch says {of.said}.",
        )
    count, highest = sa.func.count(), sa.func.max(batches.c.batch_index)
    gaps = (
        sa.select(batches.c.node_id, count.label("found"), highest.label("last"))
        .where(batches.c.run_id == examined.run.run_id)
        .group_by(batches.c.node_id)
        .having(highest != count - 1)
    )
    yield from each(
        examined,
        gaps,
        check="batch_counts",
        table="batches",
        what=lambda of: f"{of.found} batches are numbered up to {of.last}: one is missing.",
    )


def batch_members_ended(examined: Examined) -> Iterator[Finding]:
    """A member of a completed batch was consumed by it or is its output; one of a failed batch failed there."""
    states, outcomes, outputs = node_states, token_outcomes, batch_outputs
    at_node = sa.exists().where(
        states.c.token_id == batch_members.c.token_id,
        states.c.node_id == batches.c.node_id,
        states.c.status
        == sa.case((batches.c.status == BatchStatus.FAILED.value, "failed"), else_="completed"),
    )
    consumed = sa.exists().where(
        outcomes.c.token_id == batch_members.c.token_id,
        IS_TERMINAL,
        outcomes.c.outcome == Outcome.CONSUMED_IN_BATCH.value,
        outcomes.c.node_id == batches.c.node_id,
    )
    passed = sa.exists().where(
        outputs.c.token_id == batch_members.c.token_id, outputs.c.batch_id == batches.c.batch_id
    )
    is_completed = batches.c.status == BatchStatus.COMPLETED.value
    question = (
        sa.select(batch_members.c.token_id, batches.c.batch_id, batches.c.status)
        .join(batches, batches.c.batch_id == batch_members.c.batch_id)
        .where(
            batches.c.run_id == examined.run.run_id,
            batches.c.status.in_((BatchStatus.COMPLETED.value, BatchStatus.FAILED.value)),
            sa.or_(~at_node, sa.and_(is_completed, ~consumed, ~passed), sa.and_(~is_completed, consumed)),
        )
    )
    yield from each(
        examined,
        question,
        check="batch_members_ended",
        table="batch_members",
        what=lambda of: f"Batch {of.batch_id} is {of.status}, and the token did not end accordingly.",
    )
    in_batch = sa.exists().where(
        batch_members.c.token_id == outcomes.c.token_id,
        batches.c.batch_id == batch_members.c.batch_id,
        batches.c.node_id == outcomes.c.node_id,
        is_completed,
    )
    strays = sa.select(outcomes.c.token_id).where(
        outcomes.c.run_id == examined.run.run_id,
        outcomes.c.outcome == Outcome.CONSUMED_IN_BATCH.value,
        ~in_batch,
    )
    yield from each(
        examined,
        strays,
        check="batch_members_ended",
        table="token_outcomes",
        what=lambda _of: "It was consumed in a batch, but is a member of none that was completed.",
    )


def batch_outputs_come_of_all(examined: Examined) -> Iterator[Finding]:
    """What a batch made has all of its members as parents, in their order, and nobody else."""
    same = sa.and_(
        batch_members.c.batch_id == batch_outputs.c.batch_id,
        batch_members.c.ordinal == token_parents.c.ordinal,
        batch_members.c.token_id == token_parents.c.parent_token_id,
    )
    parents, members = sa.func.count(token_parents.c.parent_token_id), sa.func.count(batch_members.c.token_id)
    is_of_batch = token_parents.c.relation == Relation.BATCH.value
    question = (
        sa.select(
            batch_outputs.c.token_id, batches.c.batch_id, parents.label("parents"), members.label("members")
        )
        .select_from(
            batches.join(batch_outputs, batch_outputs.c.batch_id == batches.c.batch_id)
            .join(tokens, tokens.c.token_id == batch_outputs.c.token_id)
            .outerjoin(
                token_parents,
                sa.and_(token_parents.c.token_id == batch_outputs.c.token_id, is_of_batch),
            )
            .outerjoin(batch_members, same)
        )
        .where(batches.c.run_id == examined.run.run_id, tokens.c.created_by_node_id == batches.c.node_id)
        .group_by(batch_outputs.c.token_id, batches.c.batch_id, batches.c.member_count)
        .having(sa.or_(parents != batches.c.member_count, members != batches.c.member_count))
    )
    yield from each(
        examined,
        question,
        check="batch_outputs_come_of_all",
        table="token_parents",
        what=lambda of: (
            f"It has {of.parents} parents, {of.members} of them in their places in {of.batch_id}."
        ),
    )
    came_out = sa.exists().where(  # a question over the whole batch that failed made no output
        node_states.c.token_id == tokens.c.token_id,
        node_states.c.node_id == tokens.c.created_by_node_id,
        node_states.c.status == "completed",
    )
    unsaid = (
        sa.select(tokens.c.token_id)
        .join(
            token_parents,
            sa.and_(token_parents.c.token_id == tokens.c.token_id, token_parents.c.ordinal == 0),
        )
        .outerjoin(batch_outputs, batch_outputs.c.token_id == tokens.c.token_id)
        .where(
            tokens.c.run_id == examined.run.run_id, is_of_batch, came_out, batch_outputs.c.batch_id.is_(None)
        )
    )
    yield from each(
        examined,
        unsaid,
        check="batch_outputs_come_of_all",
        table="batch_outputs",
        what=lambda _of: "A batch made it, but it is the output of none.",
    )
