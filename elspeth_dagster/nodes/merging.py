"""What the merged row of a join is, and where each of its fields comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.coalesce import CoalesceConfig

UNION_COLLISION = "union_collision"


@dataclass(frozen=True, slots=True)
class Collision:
    """A field that several branches made; ``winner`` is None where the rule is to fail."""

    field: str
    branches: tuple[str, ...]
    winner: str | None


@dataclass(frozen=True, slots=True)
class Merged:
    """The row, or why there is none. ``origins``: each field's branch; None: as the fork had it. Only of a union."""

    row: Row | Rejected
    origins: Mapping[str, str | None] = field(default_factory=dict)
    collisions: tuple[Collision, ...] = ()


def merge(config: CoalesceConfig, rows: Mapping[str, Row], forked: Row) -> Merged:
    """Merge the rows of the branches that arrived; ``forked`` is the row that was forked."""
    ordered = {branch: rows[branch] for branch in config.branches() if branch in rows}
    if config.merge == "nested":
        nested: Row = dict(ordered)
        return Merged(nested)
    if config.merge == "select":
        assert config.select_branch is not None  # noqa: S101 - checked when it was loaded
        return Merged(ordered[config.select_branch])
    return _union(config, ordered, forked)


def _union(config: CoalesceConfig, rows: Mapping[str, Row], forked: Row) -> Merged:
    row: Row = {}
    origins: dict[str, str | None] = {}
    collisions: list[Collision] = []
    for name in dict.fromkeys(name for one in rows.values() for name in one):
        makers = [
            branch for branch, one in rows.items() if name in one and not _is_as_forked(one, forked, name)
        ]
        winner = None if not makers else makers[0 if config.collision_rule == "first_wins" else -1]
        if len(makers) > 1:
            is_settled = config.collision_rule != "fail"
            collisions.append(Collision(name, tuple(makers), winner if is_settled else None))
        row[name] = forked[name] if winner is None else rows[winner][name]
        origins[name] = winner
    if collisions and config.collision_rule == "fail":
        return Merged(_refusal(collisions), origins={}, collisions=tuple(collisions))
    return Merged(row, origins, tuple(collisions))


def _is_as_forked(row: Row, forked: Row, name: str) -> bool:
    return name in forked and _same(row[name], forked[name])


def _same(one: JSON, other: JSON) -> bool:
    """Whether both are the same JSON: Python holds true to be 1."""
    return one == other and canonical_bytes(one) == canonical_bytes(other)


def _refusal(collisions: Sequence[Collision]) -> Rejected:
    said = "; ".join(f"{one.field!r} by {' and '.join(one.branches)}" for one in collisions)
    return Rejected(
        UNION_COLLISION,
        f"Several branches made the same field: {said}.",
        facts={"fields": [one.field for one in collisions]},
    )
