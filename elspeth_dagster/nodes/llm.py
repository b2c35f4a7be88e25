"""`llm`: ask a model about each row, and take its checked answer into the row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from elspeth_dagster.errors import ExpressionError, NotJSONError
from elspeth_dagster.expressions import PromptTemplate, template_mistakes
from elspeth_dagster.files import resolve
from elspeth_dagster.llm import AnswerSchema, ModelSettings, build_request
from elspeth_dagster.model.canonical import plain_hash
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row, normalised
from elspeth_dagster.nodes.base import Columns, Emitted, Home, Mistake, StepConfig, known
from elspeth_dagster.pooling import PoolConfig

QUERY = "answer"
"""The name of a step's only query."""

FREE_ANSWER_FIELD = "answer"
"""The field that takes the model's text where no `answer:` is declared."""


class LlmConfig(StepConfig):
    """One question a row."""

    operational: ClassVar[frozenset[str]] = StepConfig.operational | {"pool"}
    determinism: ClassVar[str] = "nondeterministic"

    kind: Literal["llm"]
    model: str = Field(
        default="default", description="The name of an entry of `models:`, or of a Dagster resource."
    )
    prompt: str | None = Field(
        default=None, description="A Jinja2 template; `row.<field>` are the row's fields."
    )
    prompt_file: str | None = Field(default=None, description="A file that holds the prompt.")
    system: str | None = Field(default=None, description="The system message, a template too.")
    lookup: dict[str, JsonValue] = Field(
        default_factory=dict, description="Static tables, as `lookup.<name>` in prompts."
    )
    answer: dict[str, JsonValue] = Field(
        default_factory=dict, description="Field: type of each field that the model must return."
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    answer_attempts: int = Field(
        default=2, ge=1, le=10, description="How often to ask before an invalid answer is the row's error."
    )
    pool: PoolConfig = Field(default_factory=PoolConfig)

    @model_validator(mode="after")
    def _one_prompt(self) -> LlmConfig:
        if (self.prompt is None) == (self.prompt_file is None):
            raise ValueError("an llm step has either `prompt` or `prompt_file`")
        return self

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Prompts that are wrong, answers that cannot be, answer fields that a column has already."""
        try:
            prompt = self.prompt_text(home)
        except (OSError, ValueError) as error:
            yield Mistake(("prompt_file",), f"The prompt's file cannot be read: {error}")
        else:
            for what in template_mistakes(prompt, fields=known(columns), lookups=self.lookup.keys()):
                yield Mistake(("prompt" if self.prompt is not None else "prompt_file",), what)
        if self.system is not None:
            for what in template_mistakes(self.system, fields=known(columns), lookups=self.lookup.keys()):
                yield Mistake(("system",), what)
        try:
            self.answer_schema()
        except ValueError as error:
            yield Mistake(("answer",), str(error))
        for field in self.answer_fields():
            if columns is not None and field in columns:
                yield Mistake(
                    ("answer", field), f"Column {field!r} is there already; rename or drop one of them."
                )

    def decision(self, home: Home) -> dict[str, JSON]:
        """The prompt's text counts, wherever it stands."""
        decision = super().decision(home)
        decision["prompt"] = self.prompt_text(home)
        return decision

    def prompt_text(self, home: Home) -> str:
        """The template's source."""
        if self.prompt is not None:
            return self.prompt
        assert self.prompt_file is not None  # noqa: S101 - one of the two is there
        path = resolve(
            self.prompt_file, base=home.base, root=home.root, allow_outside=False, partition=None, run_id=None
        )
        return path.read_text("utf-8")

    def answer_schema(self) -> AnswerSchema | None:
        """What the answer must be; None for free text."""
        return AnswerSchema.parse(self.answer) if self.answer else None

    def answer_fields(self) -> tuple[str, ...]:
        """The fields that this step adds to a row."""
        return tuple(self.answer) or (FREE_ANSWER_FIELD,)

    def columns_out(self, columns: Columns) -> Columns:
        """The answer's fields come behind the row's own."""
        return None if columns is None else tuple(dict.fromkeys([*columns, *self.answer_fields()]))

    def compile(self, home: Home, settings: ModelSettings) -> LlmQuestion:
        """Make it ready for rows."""
        lookup = self.lookup
        return LlmQuestion(
            settings=settings,
            prompt=PromptTemplate.compile(self.prompt_text(home), where="prompt", lookups=lookup),
            system=None
            if self.system is None
            else PromptTemplate.compile(self.system, where="system", lookups=lookup),
            answer=self.answer_schema(),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and what it was made from."""

    body: Mapping[str, JSON]
    template_hash: bytes
    variables: Row


@dataclass(frozen=True, slots=True)
class LlmQuestion:
    """A compiled question: makes a row's request, and takes the answer into the row."""

    settings: ModelSettings
    prompt: PromptTemplate
    system: PromptTemplate | None
    answer: AnswerSchema | None
    temperature: float | None
    max_tokens: int | None

    def ask(self, row: Row) -> Asked | Rejected:
        """The request for ``row``; a template that fails on it is the row's error."""
        try:
            prompt = self.prompt.render(row)
            system = None if self.system is None else self.system.render(row)
        except ExpressionError as error:
            return Rejected("template_failed", error.what)
        request = build_request(
            self.settings,
            system=None if system is None else system.text,
            prompt=prompt.text,
            answer=self.answer,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        variables = {**(system.variables if system else {}), **prompt.variables}
        return Asked(request.body, self._template_hash(), variables)

    def conclude(self, row: Row, answer: Row) -> Emitted | Rejected:
        """The row with the answer's fields behind its own."""
        for field in answer:
            if field in row:
                return Rejected(
                    "field_exists", f"The row has a field {field!r} already.", facts={"field": field}
                )
        try:
            return Emitted({**row, **normalised(answer)})
        except NotJSONError as error:
            return Rejected("type_mismatch", error.what, facts={"field": error.field})

    def _template_hash(self) -> bytes:
        if self.system is None:
            return self.prompt.template_hash
        return plain_hash(self.system.template_hash + self.prompt.template_hash)


def shown_prompt(body: Mapping[str, JSON]) -> str:
    """The messages of a request, as a person reads them."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return json.dumps(body, ensure_ascii=False)
    parts = [
        f"{message.get('role')}: {message.get('content')}"
        for message in messages
        if isinstance(message, dict)
    ]
    return "\n".join(parts)
