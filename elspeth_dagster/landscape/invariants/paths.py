"""A token's way follows the graph's edges, and what a node handed on is what the next one got."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.schema import edges, node_states, rows

_before = node_states.alias("before")
_edge = edges.alias("edge")


def path_follows_edges(examined: Examined) -> Iterator[Finding]:
    """Whoever came to a node left another one by a port that leads there. Tokens that a node made did not come."""
    yield from each(
        examined,
        _arrived(examined).where(~_left(), ~_read()),
        check="path_follows_edges",
        table="node_states",
        what=lambda of: (
            f"No edge led the token to {of.node_id!r}: it left no node by a port that goes there."
        ),
    )


def rows_handed_on(examined: Examined) -> Iterator[Finding]:
    """The input of a visit is the output of the one before it; after a failure, that one's input."""
    handed_on = sa.func.coalesce(_before.c.output_hash, _before.c.input_hash)
    same = handed_on == node_states.c.input_hash
    read_same = rows.c.data_hash == node_states.c.input_hash
    yield from each(
        examined,
        _arrived(examined).where(sa.or_(_left(), _read()), ~_left(same), ~_read(read_same)),
        check="rows_handed_on",
        table="node_states",
        what=lambda of: f"The row that came to {of.node_id!r} is not the one that was handed on to it.",
    )


def _arrived(examined: Examined) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(node_states.c.state_id, node_states.c.node_id).where(
        node_states.c.run_id == examined.run.run_id,
        node_states.c.input_hash.is_not(None),
        ~sa.func.coalesce(node_states.c.context_after_json, "").startswith(
            '{"adopted_from":', autoescape=True
        ),
    )


def _left(*also: sa.ColumnElement[bool]) -> sa.Exists:
    """The token left a node by a port with an edge to this one."""
    return sa.exists().where(
        _before.c.token_id == node_states.c.token_id,
        _edge.c.run_id == node_states.c.run_id,
        _edge.c.from_node_id == _before.c.node_id,
        _edge.c.port == _before.c.out_port,
        _edge.c.to_node_id == node_states.c.node_id,
        *also,
    )


def _read(*also: sa.ColumnElement[bool]) -> sa.Exists:
    """The token is a row's own, and its source let it go by a port with an edge to this node."""
    return sa.exists().where(
        rows.c.row_id == node_states.c.token_id,
        _edge.c.run_id == node_states.c.run_id,
        _edge.c.from_node_id == rows.c.source_node_id,
        _edge.c.port == rows.c.out_port,
        _edge.c.to_node_id == node_states.c.node_id,
        *also,
    )
