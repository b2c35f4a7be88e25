"""An explanation has what a decision was made of: the routes that were tried, with the values that they saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from elspeth_dagster.expressions import values_read
from elspeth_dagster.landscape import Landscape
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.records import sealed
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.row import JSON
from tests.landscape.family import Family, make_family
from tests.landscape.material import IS_TRUE, RUN, SALT, node, row_of

ROUTES: JSON = [["low", "row.id < 1"], ["middle", "row.id < 2"], ["high", "row.id < 9"]]
GATED = replace(
    RUN,
    nodes=(
        node("source", "csv"), node("views", "fork"), node("mood", "llm"), node("urgency", "llm"),
        node("judged", "coalesce"), node("totals", "aggregate"), node("out", "jsonl"),
        node("sort", "gate", routes=ROUTES),
    ),
    edges=(),
)  # fmt: skip


def _sorted(family: Family, index: int, port: str, expression: str | None) -> None:
    row_hash = content_hash(SALT, canonical_bytes(row_of(index)))
    token_id = family.row_id(index)
    family.state(token_id, "sort", bytes(8), before=row_hash, after=row_hash, port=port)
    state_id = f"{token_id}@sort"
    execution_id = family.handles["sort"].execution_id
    record = sealed("routing_events", state_id, state_id, port, expression, IS_TRUE, execution_id)
    family.unit.insert("routing_events", record)
    family.store()


@pytest.mark.parametrize(
    ("port", "expression", "tried"),
    [
        ("low", "row.id < 1", ["low"]),
        ("middle", "row.id < 2", ["low", "middle"]),
        ("rest", None, ["low", "middle", "high"]),
        ("gone", "row.id < 5", ["gone"]),
    ],
)
def test_the_routes_that_were_tried_are_named_in_order(
    database: Database, url: str, port: str, expression: str | None, tried: list[str]
) -> None:
    family = make_family(database, 2, run=GATED)
    _sorted(family, 1, port, expression)
    with Landscape.open(url) as landscape:
        story = landscape.explain_token(family.key, family.row_id(1), values_read=values_read)
    (visit,) = [one for one in story.tokens[0].visits if one.node_id == "sort"]
    assert visit.routing is not None
    assert [one.port for one in visit.routing.tested] == tried
    assert {str(one.values) for one in visit.routing.tested} == {"{'id': 1}"}
