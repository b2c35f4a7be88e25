"""A token's family in plain words: what made it, and what became of it at forks, joins, expansions and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from elspeth_dagster.cli.amounts import counted, duration, milliseconds, ordinal
from elspeth_dagster.cli.terminal import safe
from elspeth_dagster.landscape.joins import arrivals_of, lost_branches
from elspeth_dagster.landscape.relatives import Relative, Relatives
from elspeth_dagster.landscape.story import BatchStory, TokenStory, Visit
from elspeth_dagster.model.outcome import BatchStatus, BatchTrigger, Outcome, Relation
from elspeth_dagster.model.row import JSON

NAMED_MAX: Final = 4  # relatives in a sentence; the tree and --json have more
FIRED: Final = {
    BatchTrigger.COUNT: "it was full",
    BatchTrigger.TIMEOUT: "its time was up",
    BatchTrigger.CONDITION: "its condition came true",
    BatchTrigger.END_OF_SOURCE: "the input ended",
}


def origin_sentences(token: TokenStory) -> Iterator[str]:
    """What made a token that did not come straight from the source."""
    for relative in token.parents.listed[:1]:
        yield from _made_by(token, relative)


def _made_by(token: TokenStory, parent: Relative) -> Iterator[str]:
    node = token.created_by_node_id
    if parent.relation is Relation.FORK:
        branch = f"for its branch {safe(token.branch)}" if token.branch else ""
        yield f"{node} made this copy of {safe(parent.token_id)} {branch}".rstrip() + "."
    elif parent.relation is Relation.EXPAND:
        yield f"{node} made it of one element of {safe(parent.token_id)}."
    elif parent.relation is Relation.ADOPTED:
        yield f"It was taken over from an earlier run, where it is {safe(parent.token_id)}."
    elif parent.relation is Relation.JOIN:
        yield f"{node} merged {relatives_text(token.parents, 'branch', 'branches')} into it."
        if token.made_by_join is not None:
            yield from join_sentences(token.made_by_join.metadata)
    else:
        yield f"{node} made it of {_members_text(token)}."
        if token.made_by_batch is not None:
            yield _fired_text(token.made_by_batch)


def _members_text(token: TokenStory) -> str:
    batch = token.made_by_batch
    total = token.parents.total if batch is None else batch.batch.member_count
    indices = [one.row_index for one in token.parents.listed if one.row_index is not None]
    first = f", from row {indices[0]} on" if indices else ""
    return f"{counted(total, 'token')}{first}"


def _fired_text(story: BatchStory) -> str:
    batch = story.batch
    age = f", {duration(batch.age_seconds)} after its first member" if batch.age_seconds else ""
    return f"That batch, {safe(batch.batch_id)}, fired because {FIRED[batch.trigger]}{age}."


# Joins ---------------------------------------------------------------------------------------------------------------


def join_sentences(metadata: Mapping[str, JSON]) -> Iterator[str]:
    """Policy, order of arrival, losses and collisions of a join."""
    arrived = arrivals_text(metadata)
    policy, merge = metadata.get("policy"), metadata.get("merge_strategy")
    if arrived:
        rule = f" (policy {safe(str(policy))}, merge {safe(str(merge))})" if policy and merge else ""
        yield f"Of its branches, {arrived}{rule}."
    for branch, why in lost_branches(metadata).items():
        yield f"Branch {safe(branch)} was lost{why_text(why)}."
    collisions = [collision_text(one) for one in collisions_of(metadata)]
    if collisions:
        yield f"Several branches gave {'; '.join(collisions)}."


def collisions_of(metadata: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    """The fields that several branches gave: ``{field, branches, winner}`` each."""
    collisions = metadata.get("collisions")
    return [one for one in collisions if isinstance(one, dict)] if isinstance(collisions, list) else []


def collision_text(collision: Mapping[str, JSON]) -> str:
    """``score (mood, urgency; urgency won)``."""
    branches, winner = collision.get("branches"), collision.get("winner")
    named = ", ".join(safe(str(one)) for one in branches) if isinstance(branches, list) else ""
    won = f"{safe(str(winner))} won" if winner is not None else "none won"
    return f"{safe(str(collision.get('field')))} ({named}; {won})"


def arrivals_text(metadata: Mapping[str, JSON]) -> str:
    """``mood arrived first, urgency 12 ms later``."""
    said = []
    for number, one in enumerate(arrivals_of(metadata)):
        branch, offset = safe(str(one.get("branch"))), one.get("arrival_offset_ms")
        if number == 0:
            said.append(f"{branch} arrived first")
        else:
            later = milliseconds(offset) if isinstance(offset, int | float) else "some time"
            said.append(f"{branch} {later} later")
    return ", ".join(said)


def why_text(why: JSON) -> str:
    """What is recorded about a lost branch: why, at which node, with which code, and where it went instead."""
    if not isinstance(why, dict):
        return f": {safe(str(why))}" if why else ""
    said = {name: safe(str(value)) for name, value in why.items() if value is not None}
    if said.get("why") == "late":
        return ": it came too late"
    words = said.get("why", "it did not come")
    at = f" at {said['node']}" if "node" in said else ""
    to = f" to {said['to']}" if "to" in said else ""
    code = f" ({said['code']})" if "code" in said else ""
    return f": {words}{at}{to}{code}"


# Endings -------------------------------------------------------------------------------------------------------------


def end_sentences(token: TokenStory) -> Iterator[str] | None:
    """How a token ended that others were made of; None for every other ending."""
    outcome = token.outcome
    said = None if outcome is None else _ENDINGS.get(outcome.outcome)
    return None if outcome is None or said is None else said(token, outcome.node_id)


def _forked(token: TokenStory, node: str) -> Iterator[str]:
    branches = [one.branch for one in token.children.listed if one.branch]
    named = f": {', '.join(map(safe, branches))}" if branches else ""
    yield f"{node} sent it down {counted(token.children.total, 'branch', 'branches')}{named}."


def _expanded(token: TokenStory, node: str) -> Iterator[str]:
    yield f"{node} expanded it into {relatives_text(token.children, 'token', 'tokens')}."


def _coalesced(token: TokenStory, node: str) -> Iterator[str]:
    merged = next((one for one in token.children.listed if one.relation is Relation.JOIN), None)
    yield f"{node} merged it into {safe(merged.token_id)}." if merged else f"{node} merged it."


def _consumed(token: TokenStory, node: str) -> Iterator[str]:
    story = token.taken_by_batch
    if story is None:
        yield f"{node} took it into a batch."
        return
    batch = story.batch
    place = f"the {ordinal(story.ordinal + 1)} of {counted(batch.member_count, 'token')}"
    yield f"{node} took it into batch {batch.batch_index}, as {place}."
    if batch.status is BatchStatus.COMPLETED:
        made = ", ".join(safe(one.token_id) for one in story.outputs[:NAMED_MAX])
        left = (batch.output_count or 0) - min(len(story.outputs), NAMED_MAX)
        more = f" and {left:,} more" if left > 0 else ""
        yield f"The batch fired because {FIRED[batch.trigger]}, and became {made}{more}."
    else:
        yield f"The batch is {batch.status.value}."


def _handed_on(_token: TokenStory, node: str) -> Iterator[str]:
    yield f"It was handed on at {node}: the run did not select what comes next."


_ENDINGS: Final = {
    Outcome.FORKED: _forked,
    Outcome.EXPANDED: _expanded,
    Outcome.COALESCED: _coalesced,
    Outcome.CONSUMED_IN_BATCH: _consumed,
    Outcome.HANDED_ON: _handed_on,
}


def is_told_elsewhere(token: TokenStory, visit: Visit) -> bool:
    """Whether a visit is where the token was made or taken up, which other sentences tell."""
    if visit.error is not None or visit.calls:
        return False
    if token.parents.total and visit.node_id == token.created_by_node_id:
        return True
    outcome = token.outcome
    return outcome is not None and outcome.outcome in _ENDINGS and visit.node_id == outcome.node_id


def relatives_text(relatives: Relatives, one: str, many: str) -> str:
    """``2 branches (a, b)``, ``100 tokens (a, b, c, d and 96 more)``."""
    named = [safe(relative.token_id) for relative in relatives.listed[:NAMED_MAX]]
    left = relatives.total - len(named)
    more = f" and {left:,} more" if left > 0 else ""
    return f"{counted(relatives.total, one, many)} ({', '.join(named)}{more})"
