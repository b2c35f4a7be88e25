"""`aggregate`: rows gather until a trigger fires, then become something as one batch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from elspeth_dagster import expressions
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Columns, Home, Mistake, StepConfig, known, mistakes_in_text
from elspeth_dagster.nodes.batch_llm import LlmRunConfig
from elspeth_dagster.nodes.batch_python import PythonRunConfig
from elspeth_dagster.nodes.batch_run import BatchResult, missing_column
from elspeth_dagster.nodes.batch_stats import StatsRunConfig
from elspeth_dagster.nodes.batching import BATCH_AGE, BATCH_COUNT, Triggers

MEMBERS_MAX: Final = 100_000
"""Members of one batch: they are in memory until it fires, and are recorded in one transaction."""

LINKS_MAX: Final = 500_000
"""Members times outputs of one batch: each output records each member as its parent, in the same transaction."""

TIMEOUT_SECONDS_MAX: Final = 366 * 24 * 3600

_NAMES = {BATCH_COUNT: frozenset[str](), BATCH_AGE: frozenset[str]()}

BatchRun = Annotated[StatsRunConfig | PythonRunConfig | LlmRunConfig, Field(discriminator="kind")]


class TriggerConfig(BaseModel):
    """What makes a batch fire: the earliest. The end of the input flushes the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    count: int | None = Field(default=None, ge=1, le=MEMBERS_MAX, description="So many rows.")
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        le=TIMEOUT_SECONDS_MAX,
        description="So long after its first row left the step before, by the recorded times of both rows.",
    )
    condition: str | None = Field(
        default=None,
        description="An expression over `batch_count`, `batch_age_seconds` and the arriving `row`.",
    )

    @property
    def needs_time(self) -> bool:
        """Whether it looks at a batch's age."""
        return self.timeout_seconds is not None or BATCH_AGE in (self.condition or "")


class AggregateConfig(StepConfig):
    """`transform` makes new rows, whose parents are all members; `passthrough` keeps the rows, and their order."""

    kind: Literal["aggregate"]
    trigger: TriggerConfig
    group_by: list[str] = Field(
        default_factory=list, description="One open batch for each of their values; by default one for all."
    )
    output_mode: Literal["transform", "passthrough"] = "transform"
    expected_output_count: int | None = Field(
        default=None, ge=1, description="So many rows come out of each batch; any other number fails it."
    )
    run: BatchRun

    @property
    def is_passthrough(self) -> bool:
        """Whether the rows that come in are the ones that go on."""
        return self.output_mode == "passthrough"

    def determinism_of(self) -> str:
        """That of what it runs."""
        return self.run.determinism

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """No trigger, a condition that is wrong, fields that are not there, and what is wrong with its `run`."""
        yield from self._trigger_mistakes(columns)
        yield from self._link_mistakes()
        for index, name in enumerate(self.group_by):
            yield from missing_column(("group_by", index), name, columns)
            if name in self.group_by[:index]:
                yield Mistake(("group_by", index), f"Field {name!r} is named twice.")
        if self.is_passthrough and not self.run.is_passthrough_possible:
            what = f"Of a batch, `{self.run.kind}` makes new rows here: there is none for each row that passes through."
            yield Mistake(("output_mode",), what)
        for mistake in self.run.mistakes(columns, home, group_by=self.group_by):
            yield Mistake(("run", *mistake.path), mistake.what, mistake.text_line)

    def _trigger_mistakes(self, columns: Columns) -> Iterator[Mistake]:
        trigger = self.trigger
        if trigger.count is None and trigger.timeout_seconds is None and trigger.condition is None:
            yield Mistake(
                ("trigger",), "It needs at least one of `count`, `timeout_seconds` and `condition`."
            )
        if trigger.condition is not None:
            found = expressions.expression_mistakes(trigger.condition, fields=known(columns), names=_NAMES)
            yield from mistakes_in_text(("trigger", "condition"), found)

    def _link_mistakes(self) -> Iterator[Mistake]:
        count = self.trigger.count or 0
        is_per_member = isinstance(self.run, LlmRunConfig) and self.run.is_per_member
        if is_per_member and not self.is_passthrough and count * count > LINKS_MAX:
            what = (
                f"{count:,} rows, each with {count:,} parents, are more records than one batch may make "
                f"({LINKS_MAX:,}): use `output_mode: passthrough`, or a smaller count."
            )
            yield Mistake(("trigger", "count"), what)

    def columns_out(self, columns: Columns) -> Columns:
        """What its run makes."""
        return self.run.columns_out(columns, group_by=self.group_by)

    def decision(self, home: Home) -> dict[str, JSON]:
        """The source of a function counts, and a prompt's text."""
        return {**super().decision(home), "run": self.run.decision(home)}

    def operational_values(self) -> dict[str, JSON]:
        """The pool and the budget of its run, too."""
        values = super().operational_values()
        if isinstance(self.run, LlmRunConfig):
            values["run"] = self.run.operational_values()
        return values

    def triggers(self) -> Triggers:
        """What makes a batch fire, made ready."""
        given, condition = self.trigger, None
        if given.condition is not None:
            condition = expressions.Expression.compile(
                given.condition, where="trigger.condition", names=_NAMES
            )
        timeout = None if given.timeout_seconds is None else dt.timedelta(seconds=given.timeout_seconds)
        return Triggers(given.count, timeout, condition)

    def checked(self, result: BatchResult, *, members: int) -> BatchResult:
        """``result``, if it is of as many rows as this aggregate may make of a batch of ``members``."""
        if isinstance(result, Rejected):
            return result
        return _miscounted(self, len(result.value), members) or result


def _miscounted(config: AggregateConfig, rows_out: int, members: int) -> Rejected | None:
    facts: dict[str, JSON] = {"rows_in": members, "rows_out": rows_out}
    if config.is_passthrough and rows_out != members:
        return Rejected(
            "batch_wrong_length",
            f"The batch has {members} rows and {rows_out} came back: `passthrough` gives back each of them.",
            facts=facts,
        )
    if rows_out == 0:
        return Rejected("step_returned_no_rows", f"No row came of a batch of {members}.", facts=facts)
    expected = config.expected_output_count
    if expected is not None and rows_out != expected:
        return Rejected(
            "unexpected_output_count",
            f"{rows_out} rows came of the batch, {expected} were expected.",
            facts={**facts, "expected": expected},
        )
    if not config.is_passthrough and rows_out * members > LINKS_MAX:
        return Rejected(
            "batch_too_large",
            f"{rows_out:,} rows of {members:,} members each would be {rows_out * members:,} records of parents; at "
            f"most {LINKS_MAX:,} are kept: make fewer rows, smaller batches, or use `passthrough`.",
            facts={**facts, "links_max": LINKS_MAX},
        )
    return None
