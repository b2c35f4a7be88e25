"""Batches: what each aggregate gathered and made of it; in bounded memory, however many members one has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Found, Page, paged
from elspeth_dagster.landscape.schema import batch_members, batch_outputs, batches, rows, tokens
from elspeth_dagster.model.outcome import BatchStatus, BatchTrigger
from elspeth_dagster.model.row import JSON


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch. ``trigger`` made it fire at the age ``age_seconds``; ``batch_index`` counts a node's from 0."""

    batch_id: str
    node_id: str
    batch_index: int
    trigger: BatchTrigger
    status: BatchStatus
    member_count: int
    output_count: int | None
    age_seconds: float | None
    error: Mapping[str, JSON] | None
    fired_at: str
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class BatchToken:
    """A member or an output of a batch, by its place from 0; ``row_index`` is None for what was made of many rows."""

    ordinal: int
    token_id: str
    row_index: int | None


@dataclass(frozen=True, slots=True)
class TriggerSummary:
    """The batches of one aggregate that one trigger fired."""

    node_id: str
    trigger: BatchTrigger
    batches: int
    failed: int
    members: int
    outputs: int
    members_min: int
    members_max: int


@dataclass(frozen=True, slots=True)
class PlaceInBatch:
    """Where a token stands in a batch, as a member or as an output."""

    batch: BatchRecord
    ordinal: int


def batches_page(
    connection: Connection,
    run_id: str,
    *,
    node_id: str | None = None,
    after: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[BatchRecord]:
    """The batches of a run, by node and index, a page at a time."""
    question = sa.select(batches).where(batches.c.run_id == run_id)
    if node_id is not None:
        question = question.where(batches.c.node_id == node_id)
    order = (batches.c.node_id, batches.c.batch_index)
    return paged(connection, question, _batch, by=order, after=after, limit=limit)


def batch_members_page(
    connection: Connection, batch_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[BatchToken]:
    """The members of a batch in their order, a page at a time."""
    return _tokens_page(connection, batch_members, batch_id, after, limit)


def batch_outputs_page(
    connection: Connection, batch_id: str, *, after: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[BatchToken]:
    """The tokens that a batch made, a page at a time."""
    return _tokens_page(connection, batch_outputs, batch_id, after, limit)


def batch_that_took(connection: Connection, token_id: str) -> PlaceInBatch | None:
    """The latest batch that has this token as a member."""
    return _place(connection, batch_members, token_id)


def batch_that_made(connection: Connection, token_id: str) -> PlaceInBatch | None:
    """The batch that made this token; None for any other token."""
    return _place(connection, batch_outputs, token_id)


def trigger_summaries(connection: Connection, run_id: str) -> tuple[TriggerSummary, ...]:
    """The batches of each aggregate by what made them fire, the most frequent first."""
    count = sa.func.count()
    question = (
        sa.select(
            batches.c.node_id, batches.c.trigger_type, count,
            sa.func.sum(sa.case((batches.c.status == BatchStatus.FAILED.value, 1), else_=0)),
            sa.func.sum(batches.c.member_count), sa.func.coalesce(sa.func.sum(batches.c.output_count), 0),
            sa.func.min(batches.c.member_count), sa.func.max(batches.c.member_count),
        )
        .where(batches.c.run_id == run_id)
        .group_by(batches.c.node_id, batches.c.trigger_type)
        .order_by(batches.c.node_id, count.desc(), batches.c.trigger_type)
    )  # fmt: skip
    return tuple(
        TriggerSummary(node_id, BatchTrigger(trigger), *map(int, numbers))
        for node_id, trigger, *numbers in connection.execute(question)
    )


def _tokens_page(
    connection: Connection, table: sa.Table, batch_id: str, after: str | None, limit: int
) -> Page[BatchToken]:
    question = (
        sa.select(table.c.ordinal, table.c.token_id, rows.c.row_index)
        .select_from(
            table.join(tokens, tokens.c.token_id == table.c.token_id).outerjoin(
                rows, rows.c.row_id == tokens.c.row_id
            )
        )
        .where(table.c.batch_id == batch_id)
    )
    return paged(
        connection, question, lambda one: BatchToken(*one), by=(table.c.ordinal,), after=after, limit=limit
    )


def _place(connection: Connection, table: sa.Table, token_id: str) -> PlaceInBatch | None:
    question = (
        sa.select(batches, table.c.ordinal)
        .join(table, table.c.batch_id == batches.c.batch_id)
        .where(table.c.token_id == token_id)
        .order_by(batches.c.fired_at.desc())
        .limit(1)
    )
    found = connection.execute(question).first()
    return None if found is None else PlaceInBatch(_batch(found), found.ordinal)


def _batch(found: Found) -> BatchRecord:
    return BatchRecord(
        batch_id=found.batch_id,
        node_id=found.node_id,
        batch_index=found.batch_index,
        trigger=BatchTrigger(found.trigger_type),
        status=BatchStatus(found.status),
        member_count=found.member_count,
        output_count=found.output_count,
        age_seconds=found.age_seconds,
        error=None if found.error_json is None else json.loads(found.error_json),
        fired_at=found.fired_at,
        completed_at=found.completed_at,
    )
