"""Joins: what every coalesce decided, for one token, for a page of a run, and summed up for each node."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.paging import PAGE_DEFAULT, Found, Page, paged
from elspeth_dagster.landscape.schema import coalesce_events
from elspeth_dagster.model.row import JSON

FETCHED: Final = 1_000  # events in memory at a time
ORDER: Final = (coalesce_events.c.node_id, coalesce_events.c.event_id)


@dataclass(frozen=True, slots=True)
class JoinRecord:
    """One decision of a coalesce about the branches of one forked token; ``merged_token_id`` is None where it failed.

    ``metadata`` has expected_branches, branches_arrived, branches_lost, arrival_order and so on, as they were recorded.
    """

    event_id: str
    node_id: str
    parent_token_id: str
    merged_token_id: str | None
    policy: str
    merge_strategy: str
    metadata: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class JoinSummary:
    """All decisions of one coalesce. ``first_arrivals`` and ``lost`` count by branch, ``failed`` by reason."""

    node_id: str
    policy: str
    merge_strategy: str
    merged: int
    failed: Mapping[str, int]
    first_arrivals: Mapping[str, int]
    lost: Mapping[str, int]
    wait_p50_ms: float | None
    wait_p95_ms: float | None
    wait_max_ms: float | None


def join_that_made(connection: Connection, token_id: str) -> JoinRecord | None:
    """The decision that made a merged token; None for any other token."""
    question = sa.select(coalesce_events).where(coalesce_events.c.merged_token_id == token_id)
    found = connection.execute(question).first()
    return None if found is None else _join(found)


def joins_page(
    connection: Connection,
    run_id: str,
    *,
    node_id: str | None = None,
    after: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[JoinRecord]:
    """The decisions of a run's joins, by node and event, a page at a time."""
    return paged(connection, _events(run_id, node_id), _join, by=ORDER, after=after, limit=limit)


def join_summaries(connection: Connection, run_id: str) -> tuple[JoinSummary, ...]:
    """Every coalesce of a run that has decided something."""
    sums: dict[str, _Sums] = {}
    question = _events(run_id, None).order_by(*ORDER).execution_options(yield_per=FETCHED)
    for found in connection.execute(question):
        join = _join(found)
        sums.setdefault(join.node_id, _Sums(join.policy, join.merge_strategy)).add(join)
    return tuple(one.summary(node_id) for node_id, one in sums.items())


def _events(run_id: str, node_id: str | None) -> sa.Select[*tuple[Any, ...]]:
    table = coalesce_events
    question = sa.select(table).where(table.c.run_id == run_id)
    if node_id is not None:
        question = question.where(table.c.node_id == node_id)
    return question


def _join(found: Found) -> JoinRecord:
    return JoinRecord(
        event_id=found.event_id,
        node_id=found.node_id,
        parent_token_id=found.parent_token_id,
        merged_token_id=found.merged_token_id,
        policy=found.policy,
        merge_strategy=found.merge_strategy,
        metadata=json.loads(found.metadata_json),
    )


@dataclass(slots=True)
class _Sums:
    policy: str
    merge_strategy: str
    merged: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    first_arrivals: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    waits_ms: array[float] = field(default_factory=lambda: array("d"))  # eight bytes a merge

    def add(self, join: JoinRecord) -> None:
        if join.merged_token_id is None:
            self.failed[str(join.metadata.get("reason", "unknown"))] += 1
        else:
            self.merged += 1
        arrived = arrivals_of(join.metadata)
        if arrived:
            self.first_arrivals[str(arrived[0].get("branch"))] += 1
        self.lost.update(lost_branches(join.metadata).keys())
        wait_ms = join.metadata.get("wait_duration_ms")
        if isinstance(wait_ms, int | float):
            self.waits_ms.append(wait_ms)

    def summary(self, node_id: str) -> JoinSummary:
        waits = array("d", sorted(self.waits_ms))
        return JoinSummary(
            node_id=node_id,
            policy=self.policy,
            merge_strategy=self.merge_strategy,
            merged=self.merged,
            failed=dict(self.failed.most_common()),
            first_arrivals=dict(self.first_arrivals.most_common()),
            lost=dict(self.lost.most_common()),
            wait_p50_ms=_share(waits, 0.5),
            wait_p95_ms=_share(waits, 0.95),
            wait_max_ms=waits[-1] if waits else None,
        )


def _share(ordered: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed; None of nothing."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else None


def arrivals_of(metadata: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    """Who arrived, in order: ``{branch, token_id, arrival_offset_ms}`` each."""
    order = metadata.get("arrival_order")
    return [one for one in order if isinstance(one, dict)] if isinstance(order, list) else []


def lost_branches(metadata: Mapping[str, JSON]) -> dict[str, JSON]:
    """The branches that did not arrive, each with what is known about why."""
    lost = metadata.get("branches_lost")
    if isinstance(lost, dict):
        return dict(lost)
    if isinstance(lost, list):
        return {_branch(one): one for one in lost}
    return {}


def _branch(lost: JSON) -> str:
    return str(lost.get("branch")) if isinstance(lost, dict) else str(lost)
