"""The columns that leave a join, for each set of branches that it may merge; and the fields a union could collide on.

Where a policy lets a branch be missing, what a row lacks is that row's error, as with a source's optional column; only
where branches are left out by design (`first`, `quorum`) is every choice of branches a shape of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Final

from elspeth_dagster.nodes.base import Columns
from elspeth_dagster.nodes.coalesce import CoalesceConfig

SHAPES_MAX: Final = 64  # as many as are kept of any node

Shapes = tuple[Columns, ...]


def merged_shapes(config: CoalesceConfig, reaching: Mapping[str, Shapes]) -> list[Columns]:
    """The sets of columns that a merged row may have. ``reaching`` are those of each branch, in declared order."""
    if config.merge == "select":
        return list(reaching.get(config.select_branch or "", (None,)))
    merged_max = config.merged_counts().stop - 1
    found = (
        shape
        for chosen in combinations(reaching, merged_max)
        for shape in _shapes(config, [reaching[branch] for branch in chosen], chosen)
    )
    return list(islice(found, SHAPES_MAX))


def _shapes(config: CoalesceConfig, reaching: Sequence[Shapes], chosen: Sequence[str]) -> Iterator[Columns]:
    if config.merge == "nested":
        yield tuple(chosen)
        return
    for each in product(*reaching):
        yield _union(each)


def _union(each: Sequence[Columns]) -> Columns:
    names: dict[str, None] = {}
    for columns in each:
        if columns is None:
            return None
        names.update(dict.fromkeys(columns))
    return tuple(names)


def colliding(
    config: CoalesceConfig, reaching: Mapping[str, Shapes], forked: Shapes
) -> dict[str, tuple[str, ...]]:
    """Fields that several branches make and the fork's parent did not have, each with its branches."""
    if config.merge != "union" or config.merged_counts().stop <= 2:  # noqa: PLR2004 - one branch alone cannot collide
        return {}
    before = {name for columns in forked for name in columns or ()}
    makers: dict[str, list[str]] = {}
    for branch, shapes in reaching.items():
        for name in dict.fromkeys(name for columns in shapes for name in columns or ()):
            if name not in before:
                makers.setdefault(name, []).append(branch)
    return {name: tuple(branches) for name, branches in makers.items() if len(branches) > 1}
