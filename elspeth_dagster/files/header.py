"""The header of a CSV file: its names, and whether the declared columns are among them."""

from __future__ import annotations

from collections.abc import Sequence

from elspeth_dagster.errors import SourceError
from elspeth_dagster.model.columns import Column, ExtraColumns
from elspeth_dagster.model.suggest import suggest

NAMES_SHOWN_MAX = 20
"""A message lists at most this many names: a wide file's header would hide what is wrong."""

_DELIMITERS = {";": "';'", "\t": "a tab", "|": "'|'", ",": "','"}


def header_names(cells: Sequence[str], *, where: str) -> tuple[str, ...]:
    """The names in the header, without the blanks around them.

    Raises:
        SourceError: a name is empty or there twice, or the header is not text in this encoding.
    """
    text = "".join(cells)
    if "\0" in text:
        hint = (
            "the file is UTF-16 or no text at all (compressed?): set its encoding, or save it as UTF-8 text"
        )
        raise SourceError("The header holds NUL characters.", where=where, hint=hint)
    try:
        text.encode()
    except UnicodeEncodeError:
        hint = "set the file's encoding (cp1252 for many spreadsheets), or save it as UTF-8"
        raise SourceError("The header is not text in this encoding.", where=where, hint=hint) from None
    names = tuple(cell.strip() for cell in cells)
    if nameless := [str(place) for place, name in enumerate(names, 1) if not name]:
        what = f"The header has no name for column {', '.join(nameless[:NAMES_SHOWN_MAX])}."
        raise SourceError(
            what, where=where, hint="the first line must name every column; is there a comma too many?"
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name, count in _counted(names).items() if count > 1})
        what = f"The header names {_listed(twice)} more than once."
        raise SourceError(what, where=where, hint="give every column a name of its own")
    return names


def check_header(
    header: Sequence[str],
    columns: Sequence[Column],
    where: str,
    *,
    extra: ExtraColumns = "keep",
    called: str = "header",
) -> None:
    """Refuse, before any row is read, what lacks a declared column, or (``extra="refuse"``) has others.

    An optional column may be absent from the file.

    Raises:
        SourceError: names every such column, with the nearest name of the header.
    """
    lacking = [column.name for column in columns if not column.optional and column.name not in header]
    if lacking:
        near = "".join(suggest(name, header) for name in lacking[:NAMES_SHOWN_MAX])
        what = f"The {called} lacks {_listed(lacking)}.{near} It has {_listed(header)}."
        raise SourceError(what, where=where, hint=_hint(header, called))
    declared = [column.name for column in columns]
    others = [name for name in header if name not in set(declared)]
    if others and extra == "refuse":
        near = "".join(suggest(name, declared) for name in others[:NAMES_SHOWN_MAX])
        what = f"The {called} has {_listed(others)}, which `columns` does not declare.{near}"
        raise SourceError(what, where=where, hint="declare them, or set `extra_columns: drop` or `keep`")


def _hint(header: Sequence[str], called: str) -> str:
    apart = next((name for mark, name in _DELIMITERS.items() if len(header) == 1 and mark in header[0]), None)
    if apart is not None and called == "header":
        return f"the header is one single column: is the delimiter {apart}?"
    return f"mend the {called} or `columns`; a column that may be missing is declared with '?'"


def _counted(names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:NAMES_SHOWN_MAX])
    return f"{shown} and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else shown
