"""Filters that make a text or a number out of one value. Each result is bounded before it is made.

Two differ from Jinja on purpose: `int` and `float` fail on a text that is no number, unless a default is given (a
made-up zero would look like data), and `tojson` writes plain JSON, not JSON for a web page.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.expressions.limits import SHOWN_WIDTH_MAX, Meter
from elspeth_dagster.expressions.values import checked_number, is_number, kind_name, shown, text_of, weigh
from elspeth_dagster.model.row import JSON

JSON_INDENT_MAX = 8
"""Wider indentation of JSON helps no reader."""

CHARS_PER_WORD = 4
"""Work that goes word by word, or line by line, takes about a step for so many characters."""

TRIMMED_CHARS_MAX = 100
"""Trimming takes the length of the text times the number of characters to trim."""

PRECISION_MAX = 15
"""Digits that a double holds."""

_ROUNDINGS: dict[str, Callable[[float], int]] = {"common": round, "ceil": math.ceil, "floor": math.floor}
_WORD = re.compile(r"\w+")
_TITLE_WORD = re.compile(r"[^-\s({\[<]+")


def string(meter: Meter, value: JSON) -> JSON:
    """The value as it is printed."""
    return text_of(value, meter)


def lower(meter: Meter, value: JSON) -> JSON:
    """The text in lower case."""
    return text_of(value, meter).lower()


def upper(meter: Meter, value: JSON) -> JSON:
    """The text in upper case."""
    return text_of(value, meter).upper()


def capitalize(meter: Meter, value: JSON) -> JSON:
    """The text with its first character in upper case, the others in lower case."""
    return text_of(value, meter).capitalize()


def title(meter: Meter, value: JSON) -> JSON:
    """The text with each word capitalized; an apostrophe starts no word."""
    text = text_of(value, meter)
    meter.spend(len(text) // CHARS_PER_WORD)
    return _TITLE_WORD.sub(lambda found: found[0][0].upper() + found[0][1:].lower(), text)


def trim(meter: Meter, value: JSON, chars: JSON = None) -> JSON:
    """The text without white space, or without ``chars``, at both ends."""
    return text_of(value, meter).strip(trimmed_chars(chars))


def replace(meter: Meter, value: JSON, old: JSON, new: JSON, count: JSON = None) -> JSON:
    """The text with ``old`` replaced by ``new`` everywhere, or the first ``count`` times."""
    text, before, after = (text_of(part, meter) for part in (value, old, new))
    times = text.count(before) if count is None else min(whole(count, "count"), text.count(before))
    meter.spend_text(len(text) + times * max(0, len(after) - len(before)))
    return text.replace(before, after, times)


def truncate(
    meter: Meter, value: JSON, length: JSON = 255, killwords: JSON = None, end: JSON = "..."
) -> JSON:
    """The text cut to ``length`` characters, ``end`` included; between words, unless ``killwords``."""
    text, tail, width = text_of(value, meter), text_of(end, meter), whole(length, "length")
    if len(text) <= width:
        return text
    if width < len(tail):
        raise ExpressionError(f"truncate to {width} characters has no room for its end {shown(tail)}.")
    head = text[: width - len(tail)]
    return (head if killwords else head.rsplit(" ", 1)[0]) + tail


def wordcount(meter: Meter, value: JSON) -> JSON:
    """How many words the text has."""
    text = text_of(value, meter)
    meter.spend(len(text) // CHARS_PER_WORD)
    return sum(1 for _ in _WORD.finditer(text))


def indent(meter: Meter, value: JSON, width: JSON = 4, first: JSON = None) -> JSON:
    """The text with its lines moved to the right, blank ones and (unless ``first``) the first excepted."""
    text, columns = text_of(value, meter), whole(width, "width")
    if columns > SHOWN_WIDTH_MAX:
        raise ExpressionError(f"indent moves a text by at most {SHOWN_WIDTH_MAX} columns.")
    lines = text.splitlines(keepends=True)
    meter.spend(len(text) // CHARS_PER_WORD)
    meter.spend_text(len(text) + len(lines) * columns)
    shift = " " * columns
    return "".join(
        shift + line if line.strip() and (number or first) else line for number, line in enumerate(lines)
    )


def tojson(meter: Meter, value: JSON, indent: JSON = None) -> JSON:
    """The value as JSON with sorted keys."""
    weight = weigh(value, meter)
    spaces = None if indent is None else min(whole(indent, "indent"), JSON_INDENT_MAX)
    meter.spend_text(weight)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=spaces)
    meter.spend_text(len(text))
    return text


def absolute(_meter: Meter, value: JSON) -> JSON:
    """The number without its sign."""
    return abs(_number(value, "abs"))


def rounded(_meter: Meter, value: JSON, precision: JSON = 0, method: JSON = "common") -> JSON:
    """The number rounded to ``precision`` decimals; ``method`` is common (half to even), ceil or floor."""
    digits = whole(precision, "precision")
    if digits > PRECISION_MAX:
        raise ExpressionError(f"round keeps at most {PRECISION_MAX} decimals.")
    rounding = _ROUNDINGS.get(method) if isinstance(method, str) else None
    if rounding is None:
        raise ExpressionError(f"round knows the methods {', '.join(_ROUNDINGS)}, not {shown(method)}.")
    number = _number(value, "round")
    if method == "common":
        nearest: int | float = round(number, digits)
        return nearest
    scale = float(10**digits)
    return rounding(checked_number(number * scale)) / scale


def integer(meter: Meter, value: JSON, default: JSON = None) -> JSON:
    """The value as a whole number, cut towards zero; what is none gives ``default``, or fails without one."""
    try:
        if isinstance(value, str):
            meter.spend_text(len(value))
            return checked_number(_whole_of(value))
        return checked_number(int(_number(value, "int")))
    except (ValueError, OverflowError, ExpressionError):
        return _or_default(default, f"{shown(value)} is no whole number", "int(0)")


def floating(meter: Meter, value: JSON, default: JSON = None) -> JSON:
    """The value as a float; what is none gives ``default``, or fails without one."""
    try:
        if isinstance(value, str):
            meter.spend_text(len(value))
            return checked_number(float(value))
        return checked_number(float(_number(value, "float")))
    except (ValueError, OverflowError, ExpressionError):
        return _or_default(default, f"{shown(value)} is no finite number", "float(0.0)")


def trimmed_chars(chars: JSON) -> str | None:
    """The characters to trim; None means white space."""
    if chars is None or (isinstance(chars, str) and len(chars) <= TRIMMED_CHARS_MAX):
        return chars
    raise ExpressionError(f"What is trimmed is named by a text of at most {TRIMMED_CHARS_MAX} characters.")


def whole(value: JSON, name: str) -> int:
    """``value`` as a count that a filter was given."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ExpressionError(f"{name!r} must be a whole number from 0, not {shown(value)}.")


def _whole_of(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(float(text))


def _or_default(default: JSON, what: str, example: str) -> JSON:
    if default is None:
        raise ExpressionError(f"{what}.", hint=f"give a default, as in {example}, if there is an honest one")
    return default


def _number(value: JSON, name: str) -> int | float:
    if is_number(value):
        return value
    raise ExpressionError(f"{name!r} needs a number, not a {kind_name(value)}.")
