"""What a user's function raised, as the row's error."""

from __future__ import annotations

from elspeth_dagster.model.result import Rejected

MESSAGE_CHARS_MAX = 2000
"""An exception's text can quote a whole document; its beginning says what happened."""


def raised(error: BaseException) -> Rejected:
    """The row's error: the exception's type is evidence, its text is content."""
    return Rejected("step_raised", shown(error), facts={"error_type": type(error).__name__})


def shown(error: BaseException) -> str:
    """``TypeError: ...``, whatever the exception's own text does."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a foreign class
        text = ""
    text = text.encode(errors="backslashreplace").decode()  # a lone surrogate could not be stored
    return f"{name}: {text[:MESSAGE_CHARS_MAX]}" if text else name
