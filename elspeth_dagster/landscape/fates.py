"""Why a branch's token does not come: read from the states that it left behind.

Only nodes that lead to the join count: whether a sink elsewhere has run already must not change what is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import coalesce_events, node_states
from elspeth_dagster.model.row import JSON

FAILED = "failed"
ROUTED = "routed"
WAITING = "waiting"

Found = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Fate:
    """``FAILED`` at a node with a code, ``ROUTED`` by a node's port to another node, or ``WAITING`` for a node."""

    why: str
    node_id: str
    code: str | None = None
    port: str | None = None
    to: str | None = None

    def as_json(self) -> dict[str, JSON]:
        """What is said of it, without what does not apply."""
        said: dict[str, JSON] = {"why": self.why, "node": self.node_id}
        more = {"code": self.code, "port": self.port, "to": self.to}
        return {**said, **{name: value for name, value in more.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Region:
    """The nodes that lead to a join, each with its place in the pipeline's order, and who takes a port's rows.

    ``joins`` are the joins among them, by the fork that they close.
    """

    places: Mapping[str, int]
    taker: Callable[[str, str], str | None]
    joins: Mapping[str, Sequence[str]]


def fates(database: Database, token_ids: Sequence[str], *, region: Region) -> dict[str, Fate]:
    """What became of each token on its way to the join that ``region`` leads to."""
    known: dict[str, Fate] = {}
    asked = {token_id: token_id for token_id in token_ids}  # whose way to follow: for whom
    while asked:
        forked: dict[str, str] = {}
        for token_id, state in _last_states(database, list(asked), region).items():
            known[asked[token_id]] = _fate(state, region)
            if state.status == "completed" and state.out_port is None:
                forked[token_id] = state.node_id
        merged, others = _joined(database, forked, region)
        for token_id, fate in others.items():
            known[asked[token_id]] = fate
        asked = {merged_id: asked[token_id] for token_id, merged_id in merged.items()}
    return known


@patient
def _last_states(database: Database, token_ids: Sequence[str], region: Region) -> dict[str, Found]:
    states = node_states
    question = sa.select(
        states.c.token_id, states.c.node_id, states.c.status, states.c.out_port, states.c.error_json
    ).where(states.c.token_id.in_(token_ids), states.c.status.in_(("completed", "failed")))
    last: dict[str, Found] = {}
    with database.look_up() as connection:
        for state in connection.execute(question):
            place = region.places.get(state.node_id, -1)
            before = last.get(state.token_id)
            if place >= 0 and (before is None or place > region.places[before.node_id]):
                last[state.token_id] = state
    return last


def _fate(state: Found, region: Region) -> Fate:
    if state.status == "failed":
        return Fate(FAILED, state.node_id, code=json.loads(state.error_json)["code"])
    if state.out_port is None:  # it was forked again, and nothing that came of it was joined
        return Fate(ROUTED, state.node_id)
    taker = region.taker(state.node_id, state.out_port)
    if taker is None or taker in region.places:
        return Fate(WAITING, taker or state.node_id)
    return Fate(ROUTED, state.node_id, port=state.out_port, to=taker)


def _joined(
    database: Database, forked: Mapping[str, str], region: Region
) -> tuple[dict[str, str], dict[str, Fate]]:
    """What an inner join made of each forked token (with its fork); or why it made nothing, or that it has not yet."""
    merged: dict[str, str] = {}
    others: dict[str, Fate] = {}
    if not forked:
        return merged, others
    decided = _decisions(database, list(forked))
    for token_id, fork_id in forked.items():
        for join_id in region.joins.get(fork_id, ()):
            event = decided.get((token_id, join_id))
            if event is None:
                others[token_id] = Fate(WAITING, join_id)
            elif event.merged_token_id is not None:
                merged[token_id] = event.merged_token_id
            else:
                reason = json.loads(event.metadata_json)["reason"]
                others.setdefault(token_id, Fate(FAILED, join_id, code=reason))
    return merged, {
        token_id: fate for token_id, fate in others.items() if token_id not in merged or fate.why == WAITING
    }


@patient
def _decisions(database: Database, forked_ids: Sequence[str]) -> dict[tuple[str, str], Found]:
    events = coalesce_events
    question = sa.select(
        events.c.parent_token_id, events.c.node_id, events.c.merged_token_id, events.c.metadata_json
    ).where(events.c.parent_token_id.in_(forked_ids))
    with database.look_up() as connection:
        return {(one.parent_token_id, one.node_id): one for one in connection.execute(question)}
