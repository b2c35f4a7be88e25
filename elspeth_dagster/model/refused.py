"""Why a value, or a record of a file, is not taken: a code, and words that complete a sentence."""

from __future__ import annotations

from typing import Literal

ViolationCode = Literal[
    "missing_field",
    "wrong_type",
    "not_a_number",
    "integer_too_large",
    "extra_field",
    "too_few_fields",
    "too_many_fields",
    "cell_too_large",
    "row_too_large",
    "more_violations",
    "nul_character",
    "not_utf8",
    "bad_quoting",
    "not_json",
    "not_an_object",
    "duplicate_key",
]


class Refused(Exception):  # noqa: N818 - a signal between readers, never an error that users see
    """One value that is not what it should be. ``why`` completes a sentence that begins with the value."""

    def __init__(self, code: ViolationCode, why: str, *, path: str = "") -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.path = path
