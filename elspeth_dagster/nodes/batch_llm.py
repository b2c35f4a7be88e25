"""`run: {kind: llm}`: one prompt over a batch, its rows as `rows`; or the queries of an llm step for each member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field, model_validator

from elspeth_dagster import expressions
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Columns, Emitted, Home, Mistake, Sources, mistakes_in_text
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.llm_queries import Given, Part
from elspeth_dagster.nodes.llm_question import LlmQuestion, Query

ROW: Final = "row"
ROWS: Final = "rows"
"""What a prompt over a batch reads the members' rows from, in their order."""

KEY: Final = "key"
"""Beside them: the fields that the batch was grouped by. They stand before the answer's in the row that is made."""

_OUTER_KEYS = frozenset({"from", "on_error", "max_error_rate", "description"})


class LlmRunConfig(LlmConfig):
    """With `queries`, or `case_studies` and `criteria`, each member is asked about; else one prompt sees all `rows`."""

    kind: Literal["llm"]
    from_: Sources = Field(default="", alias="from", exclude=True)
    on_error: None = Field(default=None, exclude=True)
    max_error_rate: float = Field(default=1.0, exclude=True)
    description: None = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_outer_keys(cls, given: object) -> object:
        for key in sorted(_OUTER_KEYS & given.keys()) if isinstance(given, dict) else ():
            raise ValueError(f"The key {key!r} belongs to the aggregate, not to its `run`.")
        return given

    @property
    def is_per_member(self) -> bool:
        """Whether each member is asked about by itself."""
        return bool(self.queries or (self.case_studies and self.criteria))

    @property
    def is_passthrough_possible(self) -> bool:
        """One answer about all rows is one row."""
        return self.is_per_member

    def mistakes(self, columns: Columns, home: Home, *, group_by: Sequence[str] = ()) -> Iterator[Mistake]:
        """As of an llm step; a prompt over the batch adds its answer to the fields of the group."""
        yield from super().mistakes(columns if self.is_per_member else tuple(group_by), home)

    def _template_mistakes(
        self, template: str, path: tuple[str | int, ...], columns: Columns, extra: Mapping[str, Given]
    ) -> Iterator[Mistake]:
        if self.is_per_member:
            yield from super()._template_mistakes(template, path, columns, extra)
            return
        found = expressions.template_mistakes(template, lookups=self.lookup.keys(), names={ROWS: None})
        if not found and self._reads_one_row(template):
            what = (
                f"It is about the whole batch, not one `{ROW}`: its rows are in `{ROWS}`, as in "
                f"`{{% for one in {ROWS} %}}{{{{ one.text }}}}{{% endfor %}}`."
            )
            yield Mistake(path, what)
        yield from mistakes_in_text(path, found)

    def _reads_one_row(self, template: str) -> bool:
        compiled = expressions.PromptTemplate.compile(
            template, where="prompt", lookups=self.lookup, names={ROWS: None}
        )
        return ROW in compiled.names_read

    def columns_out(self, columns: Columns, *, group_by: Sequence[str] = ()) -> Columns:
        """The answer's fields, behind those of the member, or of the group."""
        return super().columns_out(columns if self.is_per_member else tuple(group_by))

    def decision(self, home: Home) -> dict[str, JSON]:
        """As of an llm step."""
        return {"kind": self.kind, **super().decision(home)}

    def compile(self, home: Home, settings: ModelSettings) -> LlmQuestion:
        """Make it ready for members, or for batches as ``batch_row`` shows them."""
        question = super().compile(home, settings)
        if self.is_per_member:
            return question
        return BatchQuestion(
            question.settings,
            question.queries,
            question.temperature,
            question.max_tokens,
            question.echo_id,
        )

    def _names(self, part: Part) -> dict[str, frozenset[str] | None]:
        names = super()._names(part)
        return names if self.is_per_member else {**names, ROWS: None}


def batch_row(rows: Sequence[Row], key: Row) -> Row:
    """A batch as one row, for a prompt over all of it."""
    return {ROWS: list(rows), KEY: key}


@dataclass(frozen=True, slots=True)
class BatchQuestion(LlmQuestion):
    """What is asked about a whole batch."""

    def render(self, template: expressions.PromptTemplate, row: Row, query: Query) -> expressions.Rendered:
        """The prompt for a batch."""
        return template.render({}, extra={**query.extra, ROWS: row[ROWS]})

    def conclude(self, row: Row, answers: Mapping[str, Row]) -> Emitted | Rejected:
        """The group's fields, and the answer's behind them."""
        key = row[KEY]
        assert isinstance(key, dict)  # noqa: S101 - as batch_row made it
        return LlmQuestion.conclude(self, key, answers)
