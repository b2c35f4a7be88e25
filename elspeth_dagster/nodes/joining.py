"""What a join decides about one forked row: which branches are merged, which came late, or why nothing is merged.

Pure over what the branches recorded: the order in which their steps ran, and when, does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.coalesce import CoalesceConfig

BRANCH_LOST = "branch_lost"
QUORUM_NOT_MET = "quorum_not_met"
ALL_BRANCHES_LOST = "all_branches_lost"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A branch's token at the join. ``arrival_ms`` is the time that the branch itself took for it, since the fork."""

    branch: str
    token_id: str
    arrival_ms: float
    row: Row


@dataclass(frozen=True, slots=True)
class Verdict:
    """``held`` are merged, in order of arrival, unless ``failure`` says why they fail; ``late`` came after that."""

    held: tuple[Arrived, ...]
    late: tuple[Arrived, ...]
    failure: Rejected | None

    @property
    def deciding_ms(self) -> float | None:
        """The arrival of the last token that was waited for; None where nothing arrived."""
        return self.held[-1].arrival_ms if self.held else None


def decide(
    config: CoalesceConfig, arrived: Sequence[Arrived], lost: Mapping[str, Mapping[str, JSON]]
) -> Verdict:
    """Apply the policy. ``lost`` says of each branch that is not among ``arrived`` why it cannot arrive any more."""
    rank = {branch: index for index, branch in enumerate(config.branches())}
    in_order = sorted(arrived, key=lambda one: (one.arrival_ms, rank[one.branch]))
    in_time = [one for one in in_order if _is_in_time(config, one, in_order[0])]
    wanted = _wanted(config)
    held = in_time[:wanted]
    late = in_order[len(held) :]
    missing = [*lost, *(one.branch for one in late)]
    return Verdict(tuple(held), tuple(late), _failure(config, held, sorted(missing, key=rank.__getitem__)))


def _is_in_time(config: CoalesceConfig, one: Arrived, first: Arrived) -> bool:
    if config.timeout_seconds is None:
        return True
    return round(one.arrival_ms - first.arrival_ms, 3) <= config.timeout_seconds * 1000


def _wanted(config: CoalesceConfig) -> int:
    """How many arrivals settle it."""
    return config.merged_counts().stop - 1


def _failure(config: CoalesceConfig, held: Sequence[Arrived], missing: Sequence[str]) -> Rejected | None:
    if len(held) < config.merged_counts().start:
        return _refusal(config, len(held), missing)
    if config.merge == "select" and all(one.branch != config.select_branch for one in held):
        return Rejected(
            "select_branch_not_arrived",
            f"Branch {config.select_branch!r}, whose row is to be taken, did not arrive before the join was decided.",
            facts={"select_branch": config.select_branch},
        )
    return None


def _refusal(config: CoalesceConfig, held: int, missing: Sequence[str]) -> Rejected:
    named = ", ".join(missing)
    facts: dict[str, JSON] = {"branches": list(missing)}
    if config.policy == "require_all":
        return Rejected(BRANCH_LOST, f"Every branch is needed, and these were lost: {named}.", facts=facts)
    if config.policy == "quorum":
        what = f"{held} of the {config.quorum_count} branches that are needed arrived; lost: {named}."
        return Rejected(QUORUM_NOT_MET, what, facts={**facts, "arrived": held, "needed": config.quorum_count})
    return Rejected(ALL_BRANCHES_LOST, f"No branch arrived; lost: {named}.", facts=facts)
