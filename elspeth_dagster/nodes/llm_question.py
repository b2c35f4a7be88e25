"""A compiled llm step: makes the requests of a row, one for each of its queries, and takes the answers into the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from elspeth_dagster import expressions, llm
from elspeth_dagster.errors import ExpressionError, NotJSONError
from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.canonical import plain_hash
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row, normalised
from elspeth_dagster.nodes.base import Emitted
from elspeth_dagster.nodes.llm_queries import ECHO_FIELD


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and what it was made from."""

    body: Mapping[str, JSON]
    template_hash: bytes
    variables: Row


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a step. ``extra`` are further names that its prompt sees; ``prefix`` stands before its fields."""

    name: str
    prompt: expressions.PromptTemplate
    system: expressions.PromptTemplate | None
    answer: llm.AnswerSchema | None
    prefix: str = ""
    extra: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LlmQuestion:
    """What a step asks about each row: all of its queries, answered or none."""

    settings: ModelSettings
    queries: tuple[Query, ...]
    temperature: float | None
    max_tokens: int | None
    echo_id: bool = False

    def ask(self, row: Row, query: Query, *, row_id: str) -> Asked | Rejected:
        """The request of one query for ``row``; a template that fails on it is the row's error."""
        try:
            prompt = self.render(query.prompt, row, query)
            system = None if query.system is None else self.render(query.system, row, query)
        except ExpressionError as error:
            return Rejected("template_failed", error.what)
        request = llm.build_request(
            self.settings,
            system=None if system is None else system.text,
            prompt=f"{prompt.text}\n\n{ECHO_FIELD}: {row_id}" if self.echo_id else prompt.text,
            answer=query.answer,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        variables = prompt.variables if system is None else _together(system.variables, prompt.variables)
        return Asked(request.body, _template_hash(query), variables)

    def render(self, template: expressions.PromptTemplate, row: Row, query: Query) -> expressions.Rendered:
        """One of a query's templates for ``row``.

        Raises:
            ExpressionError: it fails on this row.
        """
        return template.render(row, extra=query.extra)

    def checked(self, answer: Row, *, row_id: str) -> Row | Rejected:
        """The answer's own fields; an answer about another row is none."""
        if not self.echo_id:
            return answer
        said = answer[ECHO_FIELD]
        if said != row_id:
            message = f"The answer is about row {said!r}; asked was about {row_id!r}."
            return Rejected("row_id_mismatch", message)
        return {name: value for name, value in answer.items() if name != ECHO_FIELD}

    def conclude(self, row: Row, answers: Mapping[str, Row]) -> Emitted | Rejected:
        """The row with the fields of every query's answer behind its own, in the order of the queries."""
        made: Row = dict(row)
        for query in self.queries:
            for name, value in answers[query.name].items():
                added = f"{query.prefix}{name}"
                if added in made:
                    message = f"The row has a field {added!r} already."
                    return Rejected("field_exists", message, facts={"field": added})
                made[added] = value
        try:
            return Emitted(normalised(made))
        except NotJSONError as error:
            return Rejected("type_mismatch", error.what, facts={"field": error.field})


def failed_queries(failures: Mapping[str, Rejected], *, query_count: int) -> Rejected:
    """Why a row is refused: its one query's own reason, or which of its several queries failed, and why."""
    if query_count == 1:
        return next(iter(failures.values()))
    facts: dict[str, JSON] = {
        "queries": [{"query": name, "code": one.reason, **one.facts} for name, one in failures.items()]
    }
    names = ", ".join(f"{name} ({one.reason})" for name, one in failures.items())
    messages: dict[str, JSON] = {name: one.message for name, one in failures.items()}
    return Rejected("query_failed", f"Failed: {names}.", facts=facts, detail={"queries": messages})


def _template_hash(query: Query) -> bytes:
    if query.system is None:
        return query.prompt.template_hash
    return plain_hash(query.system.template_hash + query.prompt.template_hash)


def _together(one: Row, other: Row) -> Row:
    """What either template read, namespace by namespace: both read `row`, and each other fields of it."""
    both: Row = {**one, **other}
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        if isinstance(mine, dict) and isinstance(theirs, dict):
            both[name] = {**mine, **theirs}
    return both
