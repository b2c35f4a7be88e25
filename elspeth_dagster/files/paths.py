"""Where a declared path leads: from its declaration, inside the project, with partition and run filled in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from elspeth_dagster.model.suggest import suggest

PART_CHARS_MAX = 200
"""A partition key becomes part of a file's name, and file systems hold 255 bytes of one."""

_PLACEHOLDERS = ("partition", "run_id")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def resolve(
    path: str,
    *,
    base: Path,
    root: Path,
    allow_outside: bool = False,
    partition: str | None = None,
    run_id: str | None = None,
    literal: bool = False,
) -> Path:
    """The absolute path, symbolic links followed, that ``path`` means.

    ``path`` is relative to ``base`` (the declaration's folder) and must end inside ``root`` (the project) unless
    ``allow_outside``. In ``{partition}`` and ``{run_id}``, everything but ASCII letters, digits and ``_.-~`` is
    percent-encoded, a dot at the beginning too: different keys give different names, none can climb to another folder.
    ``literal`` leaves a key as it is where it can be part of a file's name: for files that others named.

    Raises:
        ValueError: says which of this does not hold.
    """
    if not path.strip():
        raise ValueError("The path is empty.")
    if "\0" in path:
        raise ValueError("The path holds a NUL character.")
    if path.startswith("~"):
        raise ValueError(f"{path!r}: '~' is not expanded; write the path from the declaration's folder.")
    filled = _filled(path, {"partition": partition, "run_id": run_id}, literal=literal)
    try:
        target = (base / filled).resolve()
        inside = target.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path!r} cannot be followed: {error}.") from error
    if not inside and not allow_outside:
        raise ValueError(
            f"{path!r} leads outside of the project; move it inside, or set `allow_outside: true`."
        )
    return target


def placeholders(path: str) -> frozenset[str]:
    """The placeholders in ``path``.

    Raises:
        ValueError: there are other braces than ``{partition}`` and ``{run_id}``.
    """
    names = frozenset(_PLACEHOLDER.findall(path))
    for name in sorted(names.difference(_PLACEHOLDERS)):
        near = suggest(name, _PLACEHOLDERS) or " There are {partition} and {run_id}."
        raise ValueError(f"{path!r} holds the unknown placeholder {{{name}}}.{near}")
    if set("{}") & set(_PLACEHOLDER.sub("", path)):
        raise ValueError(f"{path!r} holds a brace that is no part of {{partition}} or {{run_id}}.")
    return names


def _filled(path: str, values: dict[str, str | None], *, literal: bool) -> str:
    for name in sorted(placeholders(path)):
        value = values[name]
        if not value:
            raise ValueError(f"{path!r} holds {{{name}}}, but this run has none.")
        kept = value if literal and _is_part_of_a_name(value) else _safe(name, value)
        path = path.replace(f"{{{name}}}", kept)
    return path


def _is_part_of_a_name(key: str) -> bool:
    return not set("/\\\0") & set(key) and not key.startswith(".") and len(key) <= PART_CHARS_MAX


def _safe(name: str, value: str) -> str:
    encoded = quote(value, safe="", errors="surrogatepass")
    encoded = f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded
    if len(encoded) > PART_CHARS_MAX:
        raise ValueError(f"The {name} {value[:40]!r}… is too long for the name of a file.")
    return encoded
