"""What was wrong with a source row, in words. The evidence has codes and types only, never a value."""

from __future__ import annotations

from typing import Final

_WORDS: Final = {
    "missing_field": "is missing, should be {expected}",
    "extra_field": "is not a declared column",
    "integer_too_large": "is a whole number beyond 2^53-1",
    "not_a_number": "is not a finite number",
    "duplicate_key": "has a key more than once",
    "not_json": "is not JSON",
    "not_an_object": "is no JSON object",
    "not_utf8": "has bytes that are not text",
    "nul_character": "has a NUL character",
    "bad_quoting": "has quotes that do not fit",
    "cell_too_large": "is too large: {expected}",
    "row_too_large": "is too large: {expected}",
    "too_many_fields": "has {actual}, should have {expected}",
    "too_few_fields": "has {actual}, should have {expected}",
}


def violation_words(code: str, expected: str, actual: str) -> str:
    """What a violation says of its field or record, as a predicate: ``should be int, was text``."""
    said = _WORDS.get(code)
    if said is not None:
        return said.format(expected=expected, actual=actual)
    if actual == expected:  # of that type, and still not one that can be kept
        return f"is no {expected} that can be kept"
    return f"should be {expected}, was {actual}"
