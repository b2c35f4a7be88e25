"""Lineage: what a token came from, and what came of it, across forks, joins, expansions, batches and runs.

The database walks the links, and remembers where it has been; here there is one page in memory, however wide a batch or
deep a chain is. A link that is met on several ways is given once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Found, Page, paged
from elspeth_dagster.landscape.schema import token_parents, tokens
from elspeth_dagster.model.outcome import Relation

FETCHED: Final = 1_000  # links in memory at a time
ORDER: Final = (tokens.c.order_key, token_parents.c.token_id, token_parents.c.ordinal)


class Direction(StrEnum):
    """Which way to walk."""

    PARENTS = "parents"
    CHILDREN = "children"


@dataclass(frozen=True, slots=True)
class Link:
    """One token is a parent of another. ``ordinal`` counts a token's parents from 0: of a join in order of arrival."""

    token_id: str
    parent_token_id: str
    relation: Relation
    ordinal: int


def lineage(connection: Connection, token_id: str, direction: Direction) -> Iterator[Link]:
    """Every link between ``token_id`` and its ancestors or descendants, to any depth; in the order of the rows."""
    question = _links(token_id, direction).order_by(*ORDER).execution_options(yield_per=FETCHED)
    yield from map(_link, connection.execute(question))


def lineage_page(
    connection: Connection,
    token_id: str,
    direction: Direction,
    *,
    after: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[Link]:
    """The same, a page at a time."""
    return paged(connection, _links(token_id, direction), _link, by=ORDER, after=after, limit=limit)


def _links(token_id: str, direction: Direction) -> sa.Select[*tuple[Any, ...]]:
    reached = sa.select(sa.literal(token_id).label("token_id")).cte("reached", recursive=True)
    is_up = direction is Direction.PARENTS
    table = token_parents
    here, there = (
        (table.c.token_id, table.c.parent_token_id) if is_up else (table.c.parent_token_id, table.c.token_id)
    )
    # UNION, not UNION ALL: a token that was reached is not walked from again, so even a circle ends.
    reached = reached.union(sa.select(there).join(reached, reached.c.token_id == here))
    return sa.select(
        table.c.token_id, table.c.parent_token_id, table.c.relation, table.c.ordinal, tokens.c.order_key
    ).select_from(
        reached.join(table, here == reached.c.token_id).join(tokens, tokens.c.token_id == table.c.token_id)
    )


def _link(found: Found) -> Link:
    return Link(found.token_id, found.parent_token_id, Relation(found.relation), found.ordinal)
