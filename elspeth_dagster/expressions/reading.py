"""Which values an expression saw: for those who explain a decision long after it was made."""

from __future__ import annotations

from functools import lru_cache

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.condition import Expression
from elspeth_dagster.model.row import Row


def values_read(source: str, row: Row) -> Row | None:
    """The fields of ``row`` that an expression reads; None if this version cannot read the expression any more."""
    expression = _compiled(source)
    return None if expression is None else expression.used_values(row)


@lru_cache(maxsize=256)  # more than the gates of any pipeline
def _compiled(source: str) -> Expression | None:
    try:
        return Expression.compile(source, where="routes")
    except ExpressionError:
        return None
