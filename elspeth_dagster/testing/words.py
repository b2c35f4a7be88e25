"""Short words for a schema's strings, of the wanted length or format."""

from __future__ import annotations

import datetime as dt
import uuid

from elspeth_dagster.testing.draws import draw
from elspeth_dagster.testing.schema import Schema, SchemaError

LENGTH_MAX = 100_000
"""A longer string is a test of patience."""

_ADJECTIVES = (
    "calm",
    "clear",
    "short",
    "late",
    "plain",
    "quiet",
    "urgent",
    "open",
    "small",
    "fair",
    "new",
    "long",
)
_NOUNS = ("account", "answer", "card", "delay", "fee", "letter", "payment", "question", "refund", "request")
_EPOCH = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_SECONDS_A_YEAR = 365 * 24 * 3600


def sentence(*, key: bytes, path: str) -> str:
    """A short text for a request without a schema."""
    return f"A {_words(key, path)}, as far as the fake model can tell."


def string_for(schema: Schema, *, key: bytes, path: str) -> str:
    """A string within the schema's lengths, or of its format. Unknown formats get words, as annotations do.

    Raises:
        SchemaError: no string has that length.
    """
    shape = schema.get("format")
    if isinstance(shape, str) and shape in _FORMATS:
        return _formatted(shape, draw(key, path))
    text = _words(key, path)
    low, high = schema.get("minLength", 0), schema.get("maxLength", LENGTH_MAX)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= min(high, LENGTH_MAX):
        raise SchemaError("no string has that length")
    while len(text) < low:
        text = f"{text} {_words(key, f'{path} {len(text)}')}"
    return text[: max(low, high)] if high < len(text) else text


def _words(key: bytes, path: str) -> str:
    number = draw(key, path)
    noun, number = number % len(_NOUNS), number // len(_NOUNS)
    return f"{_ADJECTIVES[number % len(_ADJECTIVES)]} {_NOUNS[noun]}"


_FORMATS = frozenset({"date", "time", "date-time", "email", "uuid"})


def _formatted(shape: str, number: int) -> str:
    moment = _EPOCH + dt.timedelta(seconds=number % _SECONDS_A_YEAR)
    if shape == "date":
        return moment.date().isoformat()
    if shape == "time":
        return moment.strftime("%H:%M:%SZ")
    if shape == "date-time":
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if shape == "email":
        return f"someone{number % 1000}@example.com"
    return str(uuid.UUID(int=number << 64 | number, version=4))
