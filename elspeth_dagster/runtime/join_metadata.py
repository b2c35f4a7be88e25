"""What a join says about one decision: the same in its event and on the state of every token that came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.coalesce import CoalesceConfig
from elspeth_dagster.nodes.joining import Arrived, Verdict
from elspeth_dagster.nodes.merging import Merged

LATE: Final = "late"

Lost = Mapping[str, Mapping[str, JSON]]
"""Why each branch did not come, by branch."""


def all_lost(verdict: Verdict, lost: Lost) -> dict[str, dict[str, JSON]]:
    """Those that cannot come, and those that came too late, with their tokens."""
    late: dict[str, dict[str, JSON]] = {
        one.branch: {
            "why": LATE,
            "token_id": one.token_id,
            "arrival_offset_ms": offset_ms(verdict, one),
        }
        for one in verdict.late
    }
    return {**{branch: dict(said) for branch, said in lost.items()}, **late}


def offset_ms(verdict: Verdict, one: Arrived) -> float:
    """How much later than the first it arrived."""
    first = min((*verdict.held, *verdict.late), key=lambda other: other.arrival_ms)
    offset = round(one.arrival_ms - first.arrival_ms, 3)
    return (
        int(offset) if offset.is_integer() else offset
    )  # canonical JSON writes both alike; this form faster


def decision_metadata(
    config: CoalesceConfig, verdict: Verdict, merged: Merged | None, failure: Rejected | None, lost: Lost
) -> dict[str, JSON]:
    """The decision as evidence: names, codes and the engine's own numbers."""
    branches_lost: dict[str, JSON] = {branch: dict(said) for branch, said in lost.items()}
    metadata: dict[str, JSON] = {
        "policy": config.policy,
        "merge_strategy": config.merge,
        "expected_branches": list(config.branches()),
        "branches_arrived": [one.branch for one in verdict.held],
        "branches_lost": branches_lost,
        "arrival_order": [
            {
                "branch": one.branch,
                "token_id": one.token_id,
                "arrival_offset_ms": offset_ms(verdict, one),
            }
            for one in verdict.held
        ],
        "wait_duration_ms": offset_ms(verdict, verdict.held[-1]) if verdict.held else None,
    }
    limits: dict[str, JSON] = {
        "quorum_count": config.quorum_count,
        "timeout_seconds": config.timeout_seconds,
        "select_branch": config.select_branch,
    }
    metadata |= {name: value for name, value in limits.items() if value is not None}
    if config.merge == "union":
        metadata |= _union(config, merged or Merged({}))
    if failure is not None:
        metadata["reason"] = failure.reason
    return metadata


def _union(config: CoalesceConfig, merged: Merged) -> dict[str, JSON]:
    return {
        "on_collision": config.collision_rule,
        "field_origins": dict(merged.origins),
        "collisions": [
            {"field": one.field, "branches": list(one.branches), "winner": one.winner}
            for one in merged.collisions
        ],
    }
