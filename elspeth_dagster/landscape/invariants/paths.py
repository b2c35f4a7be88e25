"""A token's way follows the graph's edges, and what a node handed on is what the next one got."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.each import each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.schema import node_states, rows

Ports = Sequence[tuple[str, str]]
"""Those that lead to a node: feeder and port."""

_before = node_states.alias("before")


def path_follows_edges(examined: Examined) -> Iterator[Finding]:
    """Whoever came to a node left another one by a port that leads there. Tokens that a node made did not come."""
    for node_id, ports in _ports(examined):
        yield from each(
            examined,
            _arrived(examined, node_id).where(~_left(ports), ~_read(ports)),
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
    for node_id, ports in _ports(examined):
        yield from each(
            examined,
            _arrived(examined, node_id).where(
                ~_left(ports, same), ~_read(ports, read_same), sa.or_(_left(ports), _read(ports))
            ),
            check="rows_handed_on",
            table="node_states",
            what=lambda of: f"The row that came to {of.node_id!r} is not the one that was handed on to it.",
        )


def _ports(examined: Examined) -> Iterator[tuple[str, Ports]]:
    """Each node and what leads to it. Asked node by node: over all edges at once PostgreSQL plans by guessing."""
    graph = graph_of(examined)
    for node_id in graph.kinds:
        yield node_id, [(feeder, port) for feeder, port, taker in graph.edges if taker == node_id]


def _arrived(examined: Examined, node_id: str) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(node_states.c.state_id, node_states.c.node_id).where(
        node_states.c.run_id == examined.run.run_id,
        node_states.c.node_id == node_id,
        node_states.c.input_hash.is_not(None),
        ~sa.func.coalesce(node_states.c.context_after_json, "").startswith(
            '{"adopted_from":', autoescape=True
        ),
    )


def _left(ports: Ports, *also: sa.ColumnElement[bool]) -> sa.Exists:
    """The token left a node by one of the ports."""
    by_one = [sa.and_(_before.c.node_id == feeder, _before.c.out_port == port) for feeder, port in ports]
    return sa.exists().where(_before.c.token_id == node_states.c.token_id, sa.or_(sa.false(), *by_one), *also)


def _read(ports: Ports, *also: sa.ColumnElement[bool]) -> sa.Exists:
    """The token is a row's own, and its source let it go by one of the ports."""
    by_one = [sa.and_(rows.c.source_node_id == feeder, rows.c.out_port == port) for feeder, port in ports]
    return sa.exists().where(rows.c.row_id == node_states.c.token_id, sa.or_(sa.false(), *by_one), *also)
