"""`coalesce`: joins the branches of a fork, for each row that was forked.

Which branches are merged is `joining`'s to decide, and what the merged row is `merging`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Home, Mistake, NodeConfig, Sources, StepConfig, listed

BRANCHES_MIN: Final = 2

Policy = Literal["require_all", "quorum", "best_effort", "first"]
Merge = Literal["union", "nested", "select"]
OnCollision = Literal["last_wins", "first_wins", "fail"]


def _branches(value: object) -> object:
    """One message for everything that is no mapping, and for each branch that names no port."""
    if not isinstance(value, dict):
        raise ValueError("Expected `branch: the step that ends it` for each branch.")  # noqa: TRY004 - pydantic's way
    return value


class CoalesceConfig(StepConfig):
    """Joins branches; `branch_lost`, `quorum_not_met` and so on fail every token that it held."""

    operational: ClassVar[frozenset[str]] = NodeConfig.operational | {"max_error_rate"}

    kind: Literal["coalesce"]
    from_: Annotated[dict[str, Sources], BeforeValidator(_branches)] = Field(  # type: ignore[assignment]
        alias="from",
        description="Branch of the fork: the step or port that ends it, or a list of them. The order decides ties.",
    )
    policy: Policy = Field(
        default="require_all", description="When it merges, and what becomes of a row whose branch is lost."
    )
    quorum_count: int | None = Field(
        default=None, ge=1, description="How many branches `policy: quorum` waits for; later ones are late."
    )
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        description="A branch that took longer than the first by more than this is late, and counts as lost.",
    )
    merge: Merge = Field(default="union", description="What the merged row is made of.")
    on_collision: OnCollision | None = Field(
        default=None, description="Whose field a union takes where several branches made it; `last_wins`."
    )
    select_branch: str | None = Field(
        default=None, description="Whose row `merge: select` takes; if it did not arrive, the merge fails."
    )

    def branches(self) -> tuple[str, ...]:
        """The branches that it expects, in the order declared."""
        return tuple(self.from_)

    def sources(self) -> tuple[str, ...]:
        """The ports of all branches."""
        return tuple(port for ports in self.from_.values() for port in listed(ports))

    @property
    def collision_rule(self) -> OnCollision:
        """What a union does with a field that several branches made."""
        return self.on_collision or "last_wins"

    def merged_counts(self) -> range:
        """How many branches a merge may have."""
        expected = len(self.from_)
        if self.policy == "first":
            return range(1, 2)
        if self.policy == "quorum":
            quorum = self.quorum_count or 1
            return range(quorum, quorum + 1)
        return range(1 if self.policy == "best_effort" else expected, expected + 1)

    def decision(self, home: Home) -> dict[str, JSON]:
        """The branches as a list: their order decides ties and collisions."""
        branches: list[JSON] = [[branch, list(listed(ports))] for branch, ports in self.from_.items()]
        return {**super().decision(home), "from": branches, "on_collision": self.collision_rule}

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Policies and merges that cannot be."""
        yield from super().mistakes(columns, home)
        if len(self.from_) < BRANCHES_MIN:
            yield Mistake(("from",), f"A join needs at least {BRANCHES_MIN} branches.")
        yield from self._policy_mistakes()
        yield from self._merge_mistakes()

    def _policy_mistakes(self) -> Iterator[Mistake]:
        expected = len(self.from_)
        if self.policy != "quorum":
            if self.quorum_count is not None:
                yield Mistake(("quorum_count",), f"It goes with `policy: quorum`, not with {self.policy!r}.")
        elif self.quorum_count is None:
            yield Mistake(
                ("policy",), "`policy: quorum` needs `quorum_count`: how many branches it waits for."
            )
        elif self.quorum_count > expected:
            what = f"A quorum of {self.quorum_count} can never be met: the join has {expected} branches."
            yield Mistake(("quorum_count",), what)

    def _merge_mistakes(self) -> Iterator[Mistake]:
        if self.on_collision is not None and self.merge != "union":
            yield Mistake(("on_collision",), f"It goes with `merge: union`, not with {self.merge!r}.")
        if self.merge != "select":
            if self.select_branch is not None:
                yield Mistake(("select_branch",), f"It goes with `merge: select`, not with {self.merge!r}.")
        elif self.select_branch is None:
            yield Mistake(("merge",), "`merge: select` needs `select_branch`: whose row it takes.")
        elif self.select_branch not in self.from_:
            near = suggest(self.select_branch, self.branches())
            what = f"There is no branch {self.select_branch!r}.{near} Branches: {', '.join(self.branches())}."
            yield Mistake(("select_branch",), what)
