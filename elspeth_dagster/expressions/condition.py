"""Expressions for gates, conditions and computed fields: compiled once, evaluated for each row in microseconds."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.check import NO_NAMES, ROW, Names, Offered, check
from elspeth_dagster.expressions.evaluate import build
from elspeth_dagster.expressions.limits import SYSTEM_CLOCK, Meter
from elspeth_dagster.expressions.logic import Evaluate
from elspeth_dagster.expressions.report import ROW_ERRORS, one_line, placed, refuse
from elspeth_dagster.expressions.sandbox import parse_expression
from elspeth_dagster.expressions.values import Frame, kind_name, plain, shown
from elspeth_dagster.model.row import JSON, Row


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that passed every check that needs no row. Evaluating changes nothing, in any thread.

    ``reads`` are the fields of the row that it names; ``reads_whole_row`` says that it may read any other too.
    """

    source: str
    where: str
    reads: frozenset[str]
    reads_whole_row: bool
    names_read: frozenset[str]
    _evaluate: Evaluate = field(repr=False, compare=False)

    @classmethod
    def compile(
        cls, source: str, *, where: str, fields: AbstractSet[str] | None = None, names: Names = NO_NAMES
    ) -> Expression:
        """Compile ``source``. ``fields`` are the columns that reach it (None: unknown), ``names`` further namespaces.

        Raises:
            ExpressionError: the source has mistakes; all are named.
        """
        try:
            tree = parse_expression(source)
            findings = check(tree, _offered(fields, names))
            refuse(findings.written())
        except ExpressionError as error:
            raise placed(error, where) from None
        return cls(
            source=source,
            where=where,
            reads=frozenset(findings.reads),
            reads_whole_row=findings.reads_whole_row,
            names_read=frozenset(findings.names_read),
            _evaluate=build(tree),
        )

    def value(self, row: Row, **names: JSON) -> JSON:
        """What the expression gives for ``row``: plain JSON that shares nothing with it.

        Raises:
            ExpressionError: a value is absent, of the wrong type, or a bound is passed: this row's error.
        """
        names[ROW] = row
        try:
            result = self._evaluate(Frame(names, Meter(SYSTEM_CLOCK)))
            return plain(result) if isinstance(result, list | dict) else result
        except ROW_ERRORS as error:
            raise placed(error, self.where) from error

    def truth(self, row: Row, **names: JSON) -> bool:
        """Whether the expression holds for ``row``.

        Raises:
            ExpressionError: as `value`, and when the result is neither true nor false.
        """
        result = self.value(row, **names)
        if isinstance(result, bool):
            return result
        raise ExpressionError(
            f"The condition gave {shown(result)} ({kind_name(result)}), not true or false.",
            where=self.where,
            hint="compare it with something, as in row.amount > 0",
        )

    def used_values(self, row: Row) -> Row:
        """The fields of ``row`` that the expression reads, with their values: what a decision rested on."""
        return {
            name: plain(value) for name, value in row.items() if self.reads_whole_row or name in self.reads
        }


def expression_mistakes(
    source: str, *, fields: AbstractSet[str] | None = None, names: Names = NO_NAMES
) -> list[str]:
    """Every mistake that can be known without a row, each with its line; an empty list for a good expression."""
    try:
        tree = parse_expression(source)
    except ExpressionError as error:
        return [one_line(error)]
    return check(tree, _offered(fields, names)).written()


def _offered(fields: AbstractSet[str] | None, names: Names) -> Offered:
    return Offered(names={**names, ROW: fields}, place="expression")
