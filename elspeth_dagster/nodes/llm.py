"""`llm`: ask a model about each row, and take its checked answer into the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from elspeth_dagster import expressions
from elspeth_dagster.files import resolve
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.base import Columns, Home, Mistake, StepConfig, known, mistakes_in_text
from elspeth_dagster.nodes.llm_queries import (
    FREE_ANSWER_FIELD,
    QUERIES_MAX,
    SINGLE,
    Given,
    Part,
    QueryConfig,
    answer_mistakes,
    crossed,
    echo_mistakes,
    field_mistakes,
    given_mistakes,
    name_mistakes,
    several,
)
from elspeth_dagster.nodes.llm_question import LlmQuestion, Query
from elspeth_dagster.pooling import PoolConfig

PROMPT_BYTES_MAX = 1024 * 1024
"""As much as any payload: a longer prompt could not be recorded."""


class LlmConfig(StepConfig):
    """One question a row, or several: all answered or none."""

    operational: ClassVar[frozenset[str]] = StepConfig.operational | {"pool", "budget_usd", "budget_tokens"}
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
    queries: dict[str, QueryConfig] = Field(
        default_factory=dict,
        description="Several queries a row, each with a prompt and an answer; fields `<query>_...`.",
    )
    case_studies: list[Given] = Field(
        default_factory=list,
        description="With `criteria`: one query for each pair; in prompts `case_study.<key>`.",
    )
    criteria: list[Given] = Field(default_factory=list, description="In prompts `criterion.<key>`.")
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    answer_attempts: int = Field(
        default=2, ge=1, le=10, description="How often to ask before an invalid answer is the row's error."
    )
    budget_usd: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Once this is spent in a run, no call starts any more and the run is incomplete. Needs a price.",
    )
    budget_tokens: int | None = Field(
        default=None, ge=1, description="The same, in tokens of prompts and answers together."
    )
    reuse: bool = Field(
        default=False,
        description="Take over the answer that a step with `reuse` got to the identical request in an earlier run.",
    )
    echo_id: bool = Field(
        default=False,
        description="Tell the model the row's id, and accept only an answer that repeats it as `row_id`.",
    )
    pool: PoolConfig = Field(default_factory=PoolConfig)

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Prompts that are wrong, answers that cannot be, answer fields that a column has already."""
        yield from self._form_mistakes()
        yield from name_mistakes(self.queries)
        given = [*given_mistakes("case_studies", self.case_studies, columns)]
        given += given_mistakes("criteria", self.criteria, columns)
        yield from given
        if given or not self._has_prompt():
            return
        try:
            parts = self.parts(home)
        except (OSError, ValueError) as error:
            yield Mistake(("prompt_file",), f"The prompt's file cannot be read: {_reason(error)}")
            return
        yield from self._part_mistakes(parts, columns)

    def _part_mistakes(self, parts: list[Part], columns: Columns) -> Iterator[Mistake]:
        if len(parts) > QUERIES_MAX:
            yield Mistake((), f"{len(parts)} queries a row; at most {QUERIES_MAX} are possible.")
            return
        told: set[Mistake] = set()
        if self.echo_id:
            yield from echo_mistakes(parts)
        for part in parts:  # crossed parts share prompt and answer: what is wrong with them is told once
            for mistake in (*self._templates_of(part, columns), *answer_mistakes(part)):
                if mistake not in told:
                    told.add(mistake)
                    yield mistake
        yield from field_mistakes(parts, columns)

    def _form_mistakes(self) -> Iterator[Mistake]:
        """One prompt, or `queries`, or cases by criteria."""
        if self.prompt is not None and self.prompt_file is not None:
            yield Mistake(("prompt_file",), "There is a `prompt` too: an llm step has one of the two.")
        if not self.queries and not self._has_prompt():
            yield Mistake((), "The key 'prompt' is missing (or 'prompt_file', or 'queries').")
        if bool(self.case_studies) != bool(self.criteria):
            there, missing = (
                ("case_studies", "criteria") if self.case_studies else ("criteria", "case_studies")
            )
            yield Mistake((there,), f"It goes with `{missing}`, which is missing.")
        if self.queries:
            for key in ("prompt", "prompt_file", "answer", "case_studies", "criteria"):
                if getattr(self, key):
                    yield Mistake(
                        (key,), "There are `queries` too: each has a prompt and an answer of its own."
                    )

    def _has_prompt(self) -> bool:
        return bool(self.queries) or self.prompt is not None or self.prompt_file is not None

    def _templates_of(self, part: Part, columns: Columns) -> Iterator[Mistake]:
        yield from self._template_mistakes(part.prompt, part.path, columns, part.extra)
        if part.system is not None:
            own = part.path[:1] == ("queries",) and self.queries[str(part.path[1])].system is not None
            path = (*part.path[:-1], "system") if own else ("system",)
            yield from self._template_mistakes(part.system, path, columns, part.extra)

    def _template_mistakes(
        self, template: str, path: tuple[str | int, ...], columns: Columns, extra: Mapping[str, Given]
    ) -> Iterator[Mistake]:
        if not template.strip():
            yield Mistake(path, "The text is empty.")
        names = {name: frozenset(given) for name, given in extra.items()}
        found = expressions.template_mistakes(
            template, fields=known(columns), lookups=self.lookup.keys(), names=names
        )
        if path == ("prompt_file",):  # lines of another file than the declaration's
            yield from (Mistake(path, f"{self.prompt_file}, {what}") for what in found)
        else:
            yield from mistakes_in_text(path, found)

    def parts(self, home: Home) -> list[Part]:
        """The step's queries.

        Raises:
            OSError, ValueError: as ``prompt_text``.
        """
        if self.queries:
            return several(self.queries, self.system)
        prompt, path = self.prompt_text(home), "prompt_file" if self.prompt is None else "prompt"
        if self.case_studies and self.criteria:
            return crossed(
                self.case_studies,
                self.criteria,
                prompt=prompt,
                path=path,
                system=self.system,
                answer=self.answer,
            )
        return [Part(SINGLE, (path,), prompt, self.system, self.answer)]

    def decision(self, home: Home) -> dict[str, JSON]:
        """The prompts' text counts, wherever it stands; and the order of what the model is shown in order."""
        decision = super().decision(home)
        for key in ("prompt", "prompt_file", "answer", "queries", "case_studies", "criteria", "system"):
            decision.pop(key, None)
        parts = self.parts(home)
        if len(parts) == 1 and not parts[0].prefix:
            decision |= _part_decision(parts[0])
        else:
            decision["queries"] = {part.name: _part_decision(part) for part in parts}
            decision["query_order"] = [part.name for part in parts]
        decision["lookup_sha256"] = hashlib.sha256(json.dumps(self.lookup).encode()).hexdigest()
        return decision

    def prompt_text(self, home: Home) -> str:
        """The template's source.

        Raises:
            OSError: the prompt's file cannot be read.
            ValueError: it is outside of the project, too large, or no UTF-8 text.
        """
        if self.prompt is not None:
            return self.prompt
        assert self.prompt_file is not None  # noqa: S101 - one of the two is there
        path = resolve(
            self.prompt_file, base=home.base, root=home.root, allow_outside=False, partition=None, run_id=None
        )
        with path.open("rb") as file:
            text = file.read(PROMPT_BYTES_MAX + 1)
        if len(text) > PROMPT_BYTES_MAX:
            raise ValueError(f"{self.prompt_file!r} is longer than {PROMPT_BYTES_MAX:,} bytes.")
        return text.decode("utf-8-sig")

    def answer_types(self, home: Home) -> dict[str, JsonValue]:
        """The fields that this step adds to a row, in order, as they are declared."""
        made: dict[str, JsonValue] = {}
        for part in self.parts(home):
            for field, name in zip(part.fields, part.answer or (FREE_ANSWER_FIELD,), strict=True):
                made[field] = part.answer.get(name, "str")
        return made

    def answer_fields(self) -> tuple[str, ...]:
        """The fields that this step adds to a row; their names do not depend on any file."""
        if self.queries:
            return tuple(field for part in several(self.queries, None) for field in part.fields)
        if self.case_studies and self.criteria:
            named = [
                case for case in (*self.case_studies, *self.criteria) if isinstance(case.get("name"), str)
            ]
            if len(named) < len(self.case_studies) + len(self.criteria):
                return ()
            parts = crossed(
                self.case_studies, self.criteria, prompt="", path="prompt", system=None, answer=self.answer
            )
            return tuple(field for part in parts for field in part.fields)
        return tuple(self.answer) or (FREE_ANSWER_FIELD,)

    def columns_out(self, columns: Columns) -> Columns:
        """The answer's fields come behind the row's own."""
        return None if columns is None else tuple(dict.fromkeys([*columns, *self.answer_fields()]))

    def compile(self, home: Home, settings: ModelSettings) -> LlmQuestion:
        """Make it ready for rows."""
        return LlmQuestion(
            settings=settings,
            queries=tuple(self._compiled(part) for part in self.parts(home)),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            echo_id=self.echo_id,
        )

    def _compiled(self, part: Part) -> Query:
        names = self._names(part)
        prompt = expressions.PromptTemplate.compile(
            part.prompt, where="prompt", lookups=self.lookup, names=names
        )
        system = None
        if part.system is not None:
            system = expressions.PromptTemplate.compile(
                part.system, where="system", lookups=self.lookup, names=names
            )
        extra: dict[str, JSON] = {name: dict(given) for name, given in part.extra.items()}
        return Query(part.name, prompt, system, part.schema(echo_id=self.echo_id), part.prefix, extra)

    def _names(self, part: Part) -> dict[str, frozenset[str] | None]:
        """The further names that a query's templates see, with their fields."""
        return {name: frozenset(given) for name, given in part.extra.items()}


def _part_decision(part: Part) -> dict[str, JSON]:
    return {
        "prompt": part.prompt,
        "system": part.system,
        "answer": [[name, declared] for name, declared in part.answer.items()],
        **{name: json.dumps(given) for name, given in part.extra.items()},
    }


def _reason(error: OSError | ValueError) -> str:
    """Why, without this machine's paths."""
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}."
    return "it is not UTF-8 text." if isinstance(error, UnicodeDecodeError) else str(error)
