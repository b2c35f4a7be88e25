"""A token's nearest relatives: the first few of them, and how many there are. `lineage` walks on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.schema import rows, token_parents, tokens
from elspeth_dagster.model.outcome import Relation

LISTED_MAX: Final = 20  # a fork's or join's branches, and enough of a batch to recognise it


@dataclass(frozen=True, slots=True)
class Relative:
    """A parent or a child. ``row_index`` is None for what was made of many rows, ``branch`` for what has none."""

    token_id: str
    relation: Relation
    ordinal: int
    branch: str | None
    row_index: int | None
    run_id: str


@dataclass(frozen=True, slots=True)
class Relatives:
    """How many there are, and the first of them in order."""

    total: int
    listed: tuple[Relative, ...]


def parents_of(connection: Connection, token_id: str) -> Relatives:
    """What the token was made of; of a join in order of arrival."""
    table = token_parents
    return _relatives(connection, table.c.token_id == token_id, table.c.parent_token_id, table.c.ordinal)


def children_of(connection: Connection, token_id: str) -> Relatives:
    """What was made of the token."""
    table = token_parents
    return _relatives(connection, table.c.parent_token_id == token_id, table.c.token_id, tokens.c.order_key)


def _relatives(
    connection: Connection, of: sa.ColumnElement[bool], other: sa.Column[str], order: sa.Column[Any]
) -> Relatives:
    total = connection.execute(sa.select(sa.func.count()).select_from(token_parents).where(of)).scalar_one()
    question = (
        sa.select(
            other, token_parents.c.relation, token_parents.c.ordinal, tokens.c.branch, rows.c.row_index, tokens.c.run_id
        )
        .select_from(
            token_parents.join(tokens, tokens.c.token_id == other).outerjoin(rows, rows.c.row_id == tokens.c.row_id)
        )
        .where(of)
        .order_by(order)
        .limit(LISTED_MAX)
    )  # fmt: skip
    listed = tuple(
        Relative(token_id, Relation(relation), ordinal, branch, row_index, run_id)
        for token_id, relation, ordinal, branch, row_index, run_id in connection.execute(question)
    )
    return Relatives(int(total), listed)
