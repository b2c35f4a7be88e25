"""The tree's parts, and those of them that show a token's family: parents, children, joins, batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from elspeth_dagster.cli.amounts import counted, duration, milliseconds
from elspeth_dagster.cli.story_family import arrivals_text, collision_text, collisions_of, why_text
from elspeth_dagster.cli.terminal import safe
from elspeth_dagster.landscape.joins import lost_branches
from elspeth_dagster.landscape.relatives import Relatives
from elspeth_dagster.landscape.story import BatchStory, TokenStory, Visit
from elspeth_dagster.model.outcome import Relation

RELATIVES_MAX: Final = 8  # in the tree; --json has twenty, `Landscape.lineage` all


@dataclass(frozen=True, slots=True)
class Detail:
    """One line under a node: a label and a text, which may wrap."""

    label: str
    text: str
    style: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """One node on the way, with its details."""

    node_id: str
    said: str
    style: str | None
    details: tuple[Detail, ...]


def parent_stops(token: TokenStory) -> Iterator[Stop]:
    """What the token was made of."""
    if token.parents.total:
        yield _family("made of", token.parents, token.made_by_batch, of_batch="member")


def child_stops(token: TokenStory) -> Iterator[Stop]:
    """What was made of the token."""
    if token.children.total:
        yield _family("became", token.children, token.taken_by_batch, of_batch="output")


def _family(title: str, relatives: Relatives, batch: BatchStory | None, *, of_batch: str) -> Stop:
    details = [
        Detail(of_batch if one.relation is Relation.BATCH else one.relation.value, safe(one.token_id))
        for one in relatives.listed[:RELATIVES_MAX]
    ]
    left = relatives.total - len(details)
    if left > 0:
        details.append(Detail("", f"and {left:,} more"))
    if batch is not None:
        details.append(Detail("batch", _batch_text(batch)))
    return Stop(title, counted(relatives.total, "token"), None, tuple(details))


def _batch_text(story: BatchStory) -> str:
    batch = story.batch
    age = f" after {duration(batch.age_seconds)}" if batch.age_seconds is not None else ""
    made = "" if batch.output_count is None else f", {counted(batch.output_count, 'output')}"
    members = counted(batch.member_count, "member")
    return (
        f"{safe(batch.batch_id)}, {batch.status.value}: {members}{made}, fired by {batch.trigger.value}{age}"
    )


def join_details(visit: Visit, token: TokenStory) -> Iterator[Detail]:
    """Policy, arrivals, losses and where each field is from: on the visit of a consumed token, or of the merged one."""
    metadata = visit.context.get("coalesce")
    made = token.made_by_join
    if metadata is None and made is not None and made.node_id == visit.node_id:
        metadata = dict(made.metadata)
    if not isinstance(metadata, dict):
        return
    wait_ms = metadata.get("wait_duration_ms")
    waited = f", waited {milliseconds(wait_ms)}" if isinstance(wait_ms, int | float) else ""
    yield Detail("join", f"{metadata.get('policy')}, {metadata.get('merge_strategy')}{waited}")
    arrived = arrivals_text(metadata)
    if arrived:
        yield Detail("arrived", arrived)
    for branch, why in lost_branches(metadata).items():
        yield Detail("lost", f"{safe(branch)}{why_text(why)}", "yellow")
    origins = metadata.get("field_origins")
    made_by = (
        {name: branch for name, branch in origins.items() if branch} if isinstance(origins, dict) else {}
    )
    if made_by:
        listed = ", ".join(f"{safe(name)} from {safe(str(branch))}" for name, branch in made_by.items())
        yield Detail("fields", listed)
    for one in collisions_of(metadata):
        yield Detail("collision", collision_text(one), "yellow")
