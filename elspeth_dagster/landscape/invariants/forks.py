"""Forks and joins are whole: every branch got its token, and every merge has the parents and the policy it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.invariants.each import Record, each
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.schema import coalesce_events, nodes, token_outcomes, token_parents, tokens
from elspeth_dagster.model.outcome import Outcome, Relation

EVENTS_AT_ONCE: Final = (
    400  # the parents of a page are asked for by their children's ids; SQLite's older bound is 999
)


def fork_completeness(examined: Examined) -> Iterator[Finding]:
    """Every token that was forked has one child in each branch of the fork, and nobody else has such children."""
    declared = _branches_declared(examined)
    parent = tokens.alias("parent")
    made = token_parents.c.relation == Relation.FORK.value
    count = sa.func.count(tokens.c.token_id)
    question = (
        sa.select(
            token_outcomes.c.token_id,
            token_outcomes.c.node_id,
            count.label("children"),
            sa.func.count(tokens.c.branch.distinct()).label("branches"),
            sa.func.min(tokens.c.created_by_node_id).label("made_by"),
        )
        .select_from(
            token_outcomes.outerjoin(
                token_parents, sa.and_(token_parents.c.parent_token_id == token_outcomes.c.token_id, made)
            ).outerjoin(tokens, tokens.c.token_id == token_parents.c.token_id)
        )
        .where(
            token_outcomes.c.run_id == examined.run.run_id, token_outcomes.c.outcome == Outcome.FORKED.value
        )
        .group_by(token_outcomes.c.token_id, token_outcomes.c.node_id)
    )
    with examined.database.read() as connection:
        for token_id, node_id, children, branches, made_by in connection.execute(
            question.execution_options(yield_per=1_000)
        ):
            expected = len(declared.get(node_id, ()))
            if not children == branches == expected or made_by != node_id:
                what = (
                    f"It was forked at {node_id!r} into {branches} of {expected} branches, {children} tokens."
                )
                yield Finding("fork_completeness", "tokens", token_id, what)
    strangers = (
        sa.select(tokens.c.token_id, tokens.c.branch, tokens.c.created_by_node_id.label("node_id"))
        .join(token_parents, token_parents.c.token_id == tokens.c.token_id)
        .join(parent, parent.c.token_id == token_parents.c.parent_token_id)
        .outerjoin(
            token_outcomes,
            sa.and_(
                token_outcomes.c.token_id == parent.c.token_id,
                token_outcomes.c.outcome == Outcome.FORKED.value,
            ),
        )
        .where(tokens.c.run_id == examined.run.run_id, made)
        .add_columns(token_outcomes.c.outcome_id)
    )
    with examined.database.read() as connection:
        for token_id, branch, node_id, ended in connection.execute(
            strangers.execution_options(yield_per=1_000)
        ):
            if ended is None or branch not in declared.get(node_id, ()):
                what = f"It is on branch {branch!r} of {node_id!r}, which its parent was not forked into."
                yield Finding("fork_completeness", "tokens", token_id, what)


def _branches_declared(examined: Examined) -> Mapping[str, Sequence[str]]:
    question = sa.select(nodes.c.node_id, nodes.c.config_json).where(
        nodes.c.run_id == examined.run.run_id, nodes.c.kind == "fork"
    )
    with examined.database.read() as connection:
        return {node_id: json.loads(config)["branches"] for node_id, config in connection.execute(question)}


def no_dangling_branch(examined: Examined) -> Iterator[Finding]:
    """A token that was merged into another has that other as its child, once; and only merged tokens have one."""
    merged = sa.func.count(token_parents.c.token_id)
    is_join = token_parents.c.relation == Relation.JOIN.value
    question = (
        sa.select(token_outcomes.c.token_id, token_outcomes.c.outcome, merged.label("merged"))
        .select_from(
            token_outcomes.outerjoin(
                token_parents, sa.and_(token_parents.c.parent_token_id == token_outcomes.c.token_id, is_join)
            )
        )
        .where(token_outcomes.c.run_id == examined.run.run_id, token_outcomes.c.is_terminal)
        .group_by(token_outcomes.c.token_id, token_outcomes.c.outcome)
        .having(merged != sa.case((token_outcomes.c.outcome == Outcome.COALESCED.value, 1), else_=0))
    )
    yield from each(
        examined,
        question,
        check="no_dangling_branch",
        table="token_parents",
        what=lambda of: f"It is {of.outcome}, and was merged into {of.merged} tokens.",
    )
    unsaid = (
        sa.select(tokens.c.token_id, tokens.c.created_by_node_id.label("node_id"))
        .join(
            token_parents,
            sa.and_(token_parents.c.token_id == tokens.c.token_id, token_parents.c.ordinal == 0),
        )
        .outerjoin(coalesce_events, coalesce_events.c.merged_token_id == tokens.c.token_id)
        .where(tokens.c.run_id == examined.run.run_id, is_join, coalesce_events.c.event_id.is_(None))
    )
    yield from each(
        examined,
        unsaid,
        check="no_dangling_branch",
        table="coalesce_events",
        what=lambda of: f"{of.node_id!r} made it of branches, and did not record why.",
    )


def merges_as_recorded(examined: Examined) -> Iterator[Finding]:
    """Every decision of a join says what its policy allows, and the merged token has the parents that it names."""
    table = coalesce_events
    question = (
        sa.select(table)
        .where(table.c.run_id == examined.run.run_id)
        .execution_options(yield_per=EVENTS_AT_ONCE)
    )
    with examined.database.read() as connection, examined.database.read() as second:
        for page in connection.execute(question).partitions():
            parents = _parents(second, [event.merged_token_id for event in page if event.merged_token_id])
            for event in page:
                wrong = _wrong(event, json.loads(event.metadata_json), parents.get(event.merged_token_id, []))
                if wrong is not None:
                    yield Finding("merges_as_recorded", "coalesce_events", event.event_id, wrong)


def _parents(connection: Connection, merged: Sequence[str]) -> dict[str, list[str]]:
    table = token_parents
    question = (
        sa.select(table.c.token_id, table.c.parent_token_id, table.c.ordinal)
        .where(table.c.token_id.in_(merged), table.c.relation == Relation.JOIN.value)
        .order_by(table.c.token_id, table.c.ordinal)
    )
    found: dict[str, list[str]] = {}
    for token_id, parent_id, ordinal in connection.execute(question):
        of_token = found.setdefault(token_id, [])
        of_token.append(parent_id if ordinal == len(of_token) else f"{parent_id} in place {ordinal}")
    return found


def _wrong(event: Record, said: Mapping[str, Any], parents: Sequence[str]) -> str | None:
    """What contradicts itself in one decision."""
    expected, arrived = said["expected_branches"], said["branches_arrived"]
    order = said["arrival_order"]
    offsets = [one["arrival_offset_ms"] for one in order]
    if (said["policy"], said["merge_strategy"]) != (event.policy, event.merge_strategy):
        return "Its policy or merge strategy is another one in its metadata."
    if sorted([*arrived, *said["branches_lost"]]) != sorted(expected):
        return f"Of the branches {expected}, {arrived} arrived and {list(said['branches_lost'])} did not."
    if [one["branch"] for one in order] != arrived or offsets != sorted(offsets):
        return "Its order of arrival is not in order, or not of those that arrived."
    if event.merged_token_id is None:
        return None if said.get("reason") else "Nothing was merged, and no reason is given."
    if [one["token_id"] for one in order] != list(parents):
        return f"It merged {[one['token_id'] for one in order]}, but the merged token's parents are {list(parents)}."
    if not _is_allowed(event.policy, len(arrived), len(expected), said.get("quorum_count")):
        return f"Policy {event.policy!r} does not merge {len(arrived)} of {len(expected)} branches."
    return None


def _is_allowed(policy: str, arrived: int, expected: int, quorum: int | None) -> bool:
    if policy == "require_all":
        return arrived == expected
    if policy == "quorum":
        return arrived == quorum
    return arrived == 1 if policy == "first" else arrived >= 1
