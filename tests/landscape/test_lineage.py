"""Lineage is walked to any depth and width, in memory that does not grow with either."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import islice

import pytest

from elspeth_dagster.landscape import Direction, Landscape
from elspeth_dagster.landscape.database import Database
from tests.landscape.family import Family, make_family

BYTES_PER_LINK_MAX = 100  # kept links would take several hundred each


def _wide(family: Family, members: int) -> None:
    """One more batch output, made of this many tokens of row 0."""
    family.token("wide", node_id="totals", index=None, order=b"\xff", salt_id=family.batch_id)
    for number in range(members):
        token_id = f"{family.row_id(0)}/{number}"
        family.token(token_id, node_id="views", index=0, order=bytes(8) + number.to_bytes(4, "big"))
        family.parent(token_id, family.row_id(0), 0, "expand", "views")
        family.parent("wide", token_id, number, "batch", "totals")
    family.store()


def _deep(family: Family, depth: int) -> str:
    """A token that was adopted from run to run this often; returns the last one's id."""
    previous = family.row_id(0)
    for number in range(depth):
        token_id = f"deep{number}"
        family.token(token_id, node_id="source", index=0, order=number.to_bytes(9, "big"))
        family.parent(token_id, previous, 0, "adopted", "source")
        previous = token_id
    family.store()
    return previous


def _walked(landscape: Landscape, token_id: str, direction: Direction) -> tuple[int, int]:
    """How many links there are, and the most memory that walking them took beyond their first thousand."""
    links = landscape.lineage(token_id, direction)
    tracemalloc.start()
    first = sum(1 for _ in islice(links, 1_000))
    _, at_first = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    count = first + sum(1 for _ in links)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return count, peak - at_first


@pytest.fixture
def family(database: Database) -> Family:
    return make_family(database, 1)


@pytest.fixture
def landscape(family: Family, url: str) -> Iterator[Landscape]:
    with Landscape.open(url) as opened:
        yield opened


def _assert_wide(landscape: Landscape, family: Family, members: int) -> None:
    _wide(family, members)
    up, up_bytes = _walked(landscape, "wide", Direction.PARENTS)
    down, down_bytes = _walked(landscape, family.row_id(0), Direction.CHILDREN)
    assert up == 2 * members
    assert down > 2 * members
    assert max(up_bytes, down_bytes) < members * BYTES_PER_LINK_MAX


def test_a_wide_batch_is_walked_in_constant_memory(landscape: Landscape, family: Family) -> None:
    _assert_wide(landscape, family, 8_000)


@pytest.mark.long
def test_a_batch_of_a_hundred_thousand_is_walked_in_constant_memory(
    landscape: Landscape, family: Family
) -> None:
    _assert_wide(landscape, family, 100_000)


def test_a_deep_chain_is_walked_to_its_end(landscape: Landscape, family: Family) -> None:
    last = _deep(family, 3_000)
    up = list(landscape.lineage(last))
    assert len(up) == 3_000
    assert up[0].parent_token_id == family.row_id(0)
