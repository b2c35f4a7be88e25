"""Tokens that a run takes over from an earlier one: what left a node when it was last materialized."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import node_executions, node_states, nodes, rows, runs, tokens
from elspeth_dagster.landscape.waiting import PAGE_TOKENS, Feed
from elspeth_dagster.model.outcome import ExecutionStatus, StateStatus

ADOPTED: Final = "adopted"
"""The kind of a node that did not run in a run: its tokens are those of an earlier one, which its config names."""


@dataclass(frozen=True, slots=True)
class RegisteredNodes:
    """What a run was registered with: the nodes that it selected, and from which run each other one's tokens come."""

    selected: frozenset[str]
    adopted_from: Mapping[str, str]
    declared: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Whether the run selected everything that was declared when it began."""
        return self.selected >= self.declared


@dataclass(frozen=True, slots=True)
class LeftToken:
    """A token as it left a node: the state's columns that go along with it."""

    token_id: str
    row_id: str | None
    order_key: bytes
    branch: str | None
    salt_id: str
    port: str
    status: str
    input_hash: bytes | None
    output_hash: bytes | None
    duration_ms: float | None
    error_json: str | None
    started_at: str
    completed_at: str | None


@patient
def registered_nodes(database: Database, run_id: str) -> RegisteredNodes | None:
    """The nodes of a run; None if it is not registered yet."""
    with database.read() as connection:
        spec_json = connection.execute(sa.select(runs.c.spec_json).where(runs.c.run_id == run_id)).scalar()
        if spec_json is None:
            return None
        found = connection.execute(
            sa.select(nodes.c.node_id, nodes.c.kind, nodes.c.config_json).where(nodes.c.run_id == run_id)
        ).all()
    spec = json.loads(spec_json)
    return RegisteredNodes(
        selected=frozenset(str(node_id) for node_id, kind, _ in found if kind != ADOPTED),
        adopted_from={
            node_id: json.loads(config)["run_id"] for node_id, kind, config in found if kind == ADOPTED
        },
        declared=frozenset(["source", *spec.get("steps", {}), *spec.get("sinks", {})]),
    )


@patient
def last_materialization(
    database: Database, *, pipeline: str, partition_key: str | None, node_id: str
) -> str | None:
    """The run in which a node last came to its end; None if it never did."""
    executions = node_executions
    same_partition = (
        runs.c.partition_key.is_(None) if partition_key is None else runs.c.partition_key == partition_key
    )
    question = (
        sa.select(executions.c.run_id)
        .join(runs, runs.c.run_id == executions.c.run_id)
        .where(
            runs.c.pipeline == pipeline,
            same_partition,
            executions.c.node_id == node_id,
            executions.c.status == ExecutionStatus.COMPLETED.value,
        )
        .order_by(executions.c.completed_at.desc())
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(question).scalar()


def left_tokens(database: Database, run_id: str, feed: Feed) -> Iterator[list[LeftToken]]:
    """Every token that left a node of a run by a port, in order, in pages."""
    question = _of_source(run_id, feed) if feed.is_source else _of_node(run_id, feed)
    after: bytes | int = -1 if feed.is_source else b""
    while True:
        found = _page(database, question, after)
        if found:
            yield [LeftToken(*cells) for *cells, _ in found]
            after = found[-1].place
        if len(found) < PAGE_TOKENS:
            return


@patient
def _page(
    database: Database, question: sa.Select[*tuple[Any, ...]], after: bytes | int
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    with database.look_up() as connection:
        return connection.execute(question, {"after": after}).all()


def _of_node(run_id: str, feed: Feed) -> sa.Select[*tuple[Any, ...]]:
    states = node_states
    return (
        sa.select(
            tokens.c.token_id, tokens.c.row_id, states.c.order_key, tokens.c.branch, tokens.c.salt_id,
            states.c.out_port, states.c.status, states.c.input_hash, states.c.output_hash, states.c.duration_ms,
            states.c.error_json, states.c.started_at, states.c.completed_at, states.c.order_key.label("place"),
        )
        .join(tokens, tokens.c.token_id == states.c.token_id)
        .where(
            states.c.run_id == run_id, states.c.node_id == feed.node_id, states.c.out_port == feed.port,
            states.c.order_key > sa.bindparam("after", type_=sa.LargeBinary),
        )
        .order_by(states.c.order_key)
        .limit(PAGE_TOKENS)
    )  # fmt: skip


def _of_source(run_id: str, feed: Feed) -> sa.Select[*tuple[Any, ...]]:
    """A source's rows have no state: they get one in the run that adopts them, of the time when they were read."""
    ended = node_executions
    return (
        sa.select(
            tokens.c.token_id, tokens.c.row_id, tokens.c.order_key, tokens.c.branch, tokens.c.salt_id,
            rows.c.out_port, sa.literal(StateStatus.COMPLETED.value), sa.null(), rows.c.data_hash,
            sa.literal(0.0), sa.null(), ended.c.started_at, ended.c.completed_at, rows.c.row_index.label("place"),
        )
        .join(rows, rows.c.row_id == tokens.c.token_id)
        .join(ended, ended.c.execution_id == rows.c.execution_id)
        .where(
            rows.c.run_id == run_id, rows.c.source_node_id == feed.node_id, rows.c.out_port == feed.port,
            rows.c.row_index > sa.bindparam("after", type_=sa.BigInteger),
        )
        .order_by(rows.c.row_index)
        .limit(PAGE_TOKENS)
    )  # fmt: skip


@patient
def known_tokens(database: Database, token_ids: Sequence[str]) -> set[str]:
    """Those of the tokens that are there already."""
    with database.look_up() as connection:
        return set(
            connection.execute(sa.select(tokens.c.token_id).where(tokens.c.token_id.in_(token_ids))).scalars()
        )
