"""Every token comes from a row: one root a row, and lineage that leads back to it without a circle."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.schema import nodes, rows, token_parents, tokens
from elspeth_dagster.model.outcome import Relation


def one_root_each(examined: Examined) -> Iterator[Finding]:
    """A token without parents is a row's own, made by its source; every row has one; no other token is without."""
    has_parents = sa.exists().where(token_parents.c.token_id == tokens.c.token_id)
    is_root = sa.and_(
        rows.c.row_id.is_not(None),
        rows.c.run_id == tokens.c.run_id,
        tokens.c.row_id == tokens.c.token_id,
        tokens.c.created_by_node_id == rows.c.source_node_id,
    )
    question = (
        sa.select(tokens.c.token_id, has_parents.label("has_parents"))
        .select_from(tokens.outerjoin(rows, rows.c.row_id == tokens.c.token_id))
        .where(
            tokens.c.run_id == examined.run.run_id,
            sa.or_(sa.and_(is_root, has_parents), sa.not_(sa.or_(is_root, has_parents))),
        )
    )
    yield from each(
        examined,
        question,
        check="one_root",
        table="tokens",
        what=lambda of: (
            "It is a row's own token, and has parents as well."
            if of.has_parents
            else "It is no row's own token, and has no parents."
        ),
    )


def acyclic_lineage(examined: Examined) -> Iterator[Finding]:
    """A token is made by a node behind the one that made its parents: so no token is its own ancestor."""
    parent, made_by, parent_made_by = (
        tokens.alias("parent"),
        nodes.alias("made_by"),
        nodes.alias("parent_made_by"),
    )
    question = (
        sa.select(
            tokens.c.token_id,
            parent.c.token_id.label("parent_id"),
            tokens.c.created_by_node_id.label("node_id"),
        )
        .select_from(tokens)
        .join(token_parents, token_parents.c.token_id == tokens.c.token_id)
        .join(parent, parent.c.token_id == token_parents.c.parent_token_id)
        .join(made_by, _is(made_by, tokens))
        .join(parent_made_by, _is(parent_made_by, parent))
        .where(
            tokens.c.run_id == examined.run.run_id,
            token_parents.c.relation != Relation.ADOPTED.value,
            parent_made_by.c.sequence >= made_by.c.sequence,
        )
    )
    yield from each(
        examined,
        question,
        check="acyclic_lineage",
        table="token_parents",
        what=lambda of: f"Its parent {of.parent_id} was not made before node {of.node_id!r}.",
    )


def _is(node: sa.FromClause, token: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(node.c.run_id == token.c.run_id, node.c.node_id == token.c.created_by_node_id)
