"""Prompt templates: compiled once, rendered for each row, with the fields they read known beforehand.

What is sent to a model depends on the template, the lookups and the variables alone, so a caller that records the
hashes of these has recorded the prompt. Loading files and hashing with a salt are left to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.check import LOOKUP, NO_NAMES, ROW, Names, Offered, check
from elspeth_dagster.expressions.limits import SYSTEM_CLOCK, Meter
from elspeth_dagster.expressions.report import ROW_ERRORS, one_line, placed, refuse
from elspeth_dagster.expressions.sandbox import parse_template
from elspeth_dagster.expressions.statements import Run, Sink, build_body
from elspeth_dagster.expressions.values import Frame, plain
from elspeth_dagster.model.canonical import plain_hash
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.row import JSON, Row


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt for one row.

    ``variables`` is everything that varied: the fields that the template reads under ``row``, and each further
    namespace that it reads under its own name.
    """

    text: str
    variables: Row


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A template that passed every check that needs no row. Rendering changes nothing, in any thread.

    ``reads`` are the fields of the row that it names; ``reads_whole_row`` says that it may read any other too, as in
    ``row[name]`` or ``row|tojson``.
    """

    source: str
    where: str
    template_hash: bytes
    reads: frozenset[str]
    reads_whole_row: bool
    names_read: frozenset[str]
    _lookups: Row = field(repr=False, compare=False)
    _body: Run = field(repr=False, compare=False)

    @classmethod
    def compile(
        cls,
        source: str,
        *,
        where: str,
        fields: AbstractSet[str] | None = None,
        lookups: Mapping[str, JSON] | None = None,
        names: Names = NO_NAMES,
    ) -> PromptTemplate:
        """Compile ``source``.

        ``fields`` are the columns that reach the prompt (None: unknown), ``lookups`` the static tables, ``names`` the
        further namespaces with their fields.

        Raises:
            ExpressionError: the source has mistakes; all are named.
        """
        tables = {name: plain(table) for name, table in (lookups or {}).items()}
        try:
            tree = parse_template(source)
            findings = check(tree, _offered(fields, frozenset(tables), names))
            refuse(findings.written())
        except ExpressionError as error:
            raise placed(error, where) from None
        return cls(
            source=source,
            where=where,
            template_hash=plain_hash(source.encode()),
            reads=frozenset(findings.reads),
            reads_whole_row=findings.reads_whole_row,
            names_read=frozenset(findings.names_read),
            _lookups=tables,
            _body=build_body(tree.body),
        )

    def render(
        self, row: Row, *, extra: Mapping[str, JSON] | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> Rendered:
        """The prompt for ``row``; ``extra`` holds the further namespaces' values.

        Raises:
            ExpressionError: a value is absent, of the wrong type, or a bound is passed: this row's error.
        """
        given = extra or {}
        frame = Frame({**given, ROW: row, LOOKUP: self._lookups}, Meter(clock))
        sink = Sink()
        try:
            self._body(frame, sink)
        except ROW_ERRORS as error:
            raise placed(error, self.where) from error
        return Rendered(text=sink.text(), variables=self._variables(row, given))

    def _variables(self, row: Row, given: Mapping[str, JSON]) -> Row:
        names: Row = {name: value for name, value in given.items() if name in self.names_read}
        if ROW in self.names_read:
            names[ROW] = {
                name: value for name, value in row.items() if self.reads_whole_row or name in self.reads
            }
        return names


def template_mistakes(
    source: str,
    *,
    fields: AbstractSet[str] | None = None,
    lookups: AbstractSet[str] = frozenset(),
    names: Names = NO_NAMES,
) -> list[str]:
    """Every mistake that can be known without a row, each with its line; an empty list for a good template."""
    try:
        tree = parse_template(source)
    except ExpressionError as error:
        return [one_line(error)]
    return check(tree, _offered(fields, lookups, names)).written()


def _offered(fields: AbstractSet[str] | None, lookups: AbstractSet[str], names: Names) -> Offered:
    return Offered(names={**names, ROW: fields, LOOKUP: lookups}, place="prompt")
