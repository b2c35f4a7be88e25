"""Make sure that a declaration is plain JSON: it is recorded as such, and hashed.

A file that was read here is nearly so; attributes that Dagster or a Python program hands over may hold anything.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Final

from elspeth_dagster.model.row import DEPTH_MAX, JSON, SAFE_INTEGER_MAX
from elspeth_dagster.pipeline.yaml_tree import DeclarationPath

Report = Callable[[DeclarationPath, str], None]


class _LeftOut:
    """Stands for a value that was refused."""


_LEFT_OUT: Final = _LeftOut()


def plain(given: Mapping[str, object], report: Report) -> dict[str, JSON]:
    """``given`` as plain JSON; what is none goes to ``report`` and is left out."""
    return _mapping(given, (), report)


def _mapping(given: Mapping[str, object], path: DeclarationPath, report: Report) -> dict[str, JSON]:
    made: dict[str, JSON] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            report(path, f"The key {key!r} is no text{_quotes(key)}.")
            continue
        read = _value(value, (*path, key), report)
        if not isinstance(read, _LeftOut):
            made[key] = read
    return made


def _value(value: object, path: DeclarationPath, report: Report) -> JSON | _LeftOut:
    if value is None or isinstance(value, bool):
        return value
    if len(path) > DEPTH_MAX:
        report(path[:1], f"It nests deeper than {DEPTH_MAX} levels.")
        return _LEFT_OUT
    if isinstance(value, Mapping):
        return _mapping(value, path, report)
    if isinstance(value, list | tuple):
        read = [_value(item, (*path, index), report) for index, item in enumerate(value)]
        return [item for item in read if not isinstance(item, _LeftOut)]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    return _scalar(value, path, report)


def _scalar(value: object, path: DeclarationPath, report: Report) -> JSON | _LeftOut:
    if isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            report(path, "The text has a lone surrogate, which UTF-8 cannot hold.")
            return _LEFT_OUT
        return str(value)
    if isinstance(value, int):
        if abs(value) > SAFE_INTEGER_MAX:
            report(path, "The number is beyond the integers that JSON holds exactly (2^53-1).")
            return _LEFT_OUT
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            report(path, f"{value} is not a number that JSON has.")
            return _LEFT_OUT
        return float(value)
    report(path, f"A {type(value).__name__} cannot stand in a declaration.")
    return _LEFT_OUT


def _quotes(key: object) -> str:
    return (
        ": YAML reads yes, no, on and off as true and false, so put it in quotes"
        if isinstance(key, bool)
        else ""
    )
