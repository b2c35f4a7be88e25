"""How an error of the language reaches the user: always an `ExpressionError`, always with its place."""

from __future__ import annotations

from elspeth_dagster.errors import ExpressionError

ROW_ERRORS = (ExpressionError, ArithmeticError, TypeError, ValueError, LookupError, RecursionError)
"""All that a row's values can cause. Anything else is a fault of this package, and surfaces as it is."""


def placed(error: Exception, where: str) -> ExpressionError:
    """``error`` as an `ExpressionError` at ``where``, followed by the line if it is known."""
    if isinstance(error, ExpressionError):
        place = f"{where}, {error.where}" if error.where else where
        return ExpressionError(error.what, where=place, hint=error.hint)
    return ExpressionError(f"The values do not fit: {error} ({type(error).__name__}).", where=where)


def one_line(error: ExpressionError) -> str:
    """``error`` as one entry of a list of mistakes: its line, if known, and what it is."""
    return f"{error.where}: {error.what}" if error.where else error.what


def refuse(mistakes: list[str]) -> None:
    """Raise one `ExpressionError` that names all ``mistakes``; do nothing if there are none."""
    if mistakes:
        raise ExpressionError(" ".join(mistakes))
