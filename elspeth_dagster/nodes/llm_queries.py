"""The queries of an llm step as they are declared: one prompt, several `queries`, or `case_studies` x `criteria`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from elspeth_dagster import llm
from elspeth_dagster.nodes.base import Columns, Mistake

SINGLE = "answer"
"""The name of a step's only query."""

FREE_ANSWER_FIELD = "answer"
"""The field that takes the model's text where no `answer:` is declared."""

ECHO_FIELD = "row_id"
"""The field of an answer that repeats the row's id, where `echo_id` asks for it; it never reaches the row."""

QUERIES_MAX = 1_000
"""Cases times criteria: beyond it a row is a batch, and one failed answer would throw away a thousand."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")

Answer = dict[str, JsonValue]
Given = dict[str, JsonValue]


class QueryConfig(BaseModel):
    """One of several queries of a step."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    prompt: str = Field(description="A Jinja2 template; `row.<field>` are the row's fields.")
    system: str | None = Field(default=None, description="The system message of this query, a template too.")
    answer: Answer = Field(default_factory=dict, description="Field: type of each field of the answer.")


@dataclass(frozen=True, slots=True)
class Part:
    """One query: what it is called, where its prompt stands in the declaration, and what it needs.

    ``prefix`` stands before its answer's fields; ``extra`` are the further names that its templates see.
    """

    name: str
    path: tuple[str | int, ...]
    prompt: str
    system: str | None
    answer: Answer
    prefix: str = ""
    extra: Mapping[str, Given] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it adds to a row."""
        return tuple(f"{self.prefix}{name}" for name in self.answer or (FREE_ANSWER_FIELD,))

    def schema(self, *, echo_id: bool = False) -> llm.AnswerSchema | None:
        """What its answer must be, the row's id before all else if it is to be repeated; None for free text."""
        if not self.answer:
            return None
        return llm.AnswerSchema.parse({ECHO_FIELD: "str", **self.answer} if echo_id else self.answer)


def several(queries: Mapping[str, QueryConfig], system: str | None) -> list[Part]:
    """The parts of `queries:`."""
    return [
        Part(
            name=name,
            path=("queries", name, "prompt"),
            prompt=query.prompt,
            system=query.system if query.system is not None else system,
            answer=query.answer,
            prefix=f"{name}_",
        )
        for name, query in queries.items()
    ]


def crossed(
    cases: Sequence[Given],
    criteria: Sequence[Given],
    *,
    prompt: str,
    path: str,
    system: str | None,
    answer: Answer,
) -> list[Part]:
    """The parts of `case_studies` x `criteria`: every case judged by every criterion."""
    return [
        Part(
            name=f"{case['name']}_{criterion['name']}",
            path=(path,),
            prompt=prompt,
            system=system,
            answer=answer,
            prefix=f"{case['name']}_{criterion['name']}_",
            extra={"case_study": case, "criterion": criterion},
        )
        for case in cases
        for criterion in criteria
    ]


def given_mistakes(key: str, items: Sequence[Given], columns: Columns) -> Iterator[Mistake]:
    """Cases or criteria without a usable name, twice the same, or with input fields that do not reach the step."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield Mistake(
                (key, index), "It needs a `name` of lower case letters, digits, underscores: [a-z][a-z0-9_]*."
            )
        elif name in seen:
            yield Mistake((key, index, "name"), f"The name {name!r} is there twice.")
        else:
            seen.add(name)
        fields = item.get("input_fields")
        if columns is None or not isinstance(fields, list):
            continue
        for place, one in enumerate(fields):
            if one not in columns:
                listed = ", ".join(columns)
                what = f"Field {one!r} does not reach this step. Columns there: {listed}."
                yield Mistake((key, index, "input_fields", place), what)


def name_mistakes(queries: Mapping[str, QueryConfig]) -> Iterator[Mistake]:
    """Query names become the beginnings of field names."""
    for name in queries:
        if not _NAME.fullmatch(name):
            what = "A query's name is lower case letters, digits, underscores: [a-z][a-z0-9_]*."
            yield Mistake(("queries", name), what)


def field_mistakes(parts: Sequence[Part], columns: Columns) -> Iterator[Mistake]:
    """Answer fields that a column has already, or that two queries would both write."""
    writers: dict[str, str] = {}
    for part in parts:
        for one in part.fields:
            if columns is not None and one in columns:
                what = f"Column {one!r} is there already; rename or drop one of them."
                yield Mistake(_answer_path(part, one), what)
            elif one in writers:
                what = f"Queries {writers[one]!r} and {part.name!r} would both write the field {one!r}."
                yield Mistake(_answer_path(part, one), what)
            writers.setdefault(one, part.name)


def echo_mistakes(parts: Sequence[Part]) -> Iterator[Mistake]:
    """`echo_id` where no answer is declared that could hold the id, or where one has such a field of its own."""
    for part in parts:
        if not part.answer:
            yield Mistake(
                ("echo_id",), "Only a declared `answer:` can repeat the row's id; this step has none."
            )
            return
        if ECHO_FIELD in part.answer:
            what = f"`echo_id` uses the field {ECHO_FIELD!r}: give this one another name."
            yield Mistake(_answer_path(part, f"{part.prefix}{ECHO_FIELD}"), what)


def answer_mistakes(part: Part) -> Iterator[Mistake]:
    """Answers that cannot be."""
    try:
        part.schema()
    except ValueError as error:
        base = _answer_base(part)
        for line in str(error).splitlines():
            name, _, what = line.partition(": ")
            if name.partition(".")[0] in part.answer:
                yield Mistake((*base, name), f"{what[:1].upper()}{what[1:]}")
            else:
                yield Mistake(base, line)


def _answer_base(part: Part) -> tuple[str | int, ...]:
    return (*part.path[:-1], "answer")


def _answer_path(part: Part, field_name: str) -> tuple[str | int, ...]:
    name = field_name.removeprefix(part.prefix)
    return (*_answer_base(part), name) if name in part.answer else _answer_base(part)
