"""JSON as the standard has it, and nothing beside: what a model writes is not to be guessed at.

Python's parser also takes NaN and Infinity, keeps the last of two equal keys, and reads ``1e999`` as infinity.
Here each of these is refused. A number without a fraction is an integer however it is written (``3.0`` is ``3``), as
in JSON Schema and in canonical JSON.
"""

from __future__ import annotations

import json
import math

from elspeth_dagster.model.row import JSON, SAFE_INTEGER_MAX

TEXT_CHARS_MAX = 1_000_000
"""About the most that a recorded payload may hold; no declared answer comes near it."""


def parse_strict(text: str) -> JSON:
    """Return the value that ``text`` holds.

    Raises:
        ValueError: the text is not JSON, is too long, nests too deeply, or does one of the things named above.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"The text has {len(text)} characters, more than {TEXT_CHARS_MAX}.")
    try:
        value: JSON = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("The text nests too deeply.") from None
    return value


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("A key stands twice in one object.")
    return made


def _number(text: str) -> float | int:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("A number is too large.")
    if number.is_integer() and abs(number) <= SAFE_INTEGER_MAX:
        return int(number)
    return number


def _constant(name: str) -> JSON:
    raise ValueError(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
