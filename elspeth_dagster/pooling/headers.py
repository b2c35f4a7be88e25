"""Lets the code that makes a request hand the answer's headers to the pool that paces it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_EMPTY: Mapping[str, str] = {}


class HeaderCell:
    """Where one call's headers end up; the last answer's win."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = _EMPTY


_current: ContextVar[HeaderCell | None] = ContextVar("elspeth_pool_call", default=None)


def report_headers(headers: Mapping[str, str]) -> None:
    """Tell the pool what the provider said about its limits (``x-ratelimit-*``), from within ``process_fn``.

    The pace follows an announced limit at once, so it is worth telling for answers that succeeded, too. An error
    that carries ``headers`` tells them by itself. Outside a pool this does nothing.
    """
    cell = _current.get()
    if cell is not None:
        cell.headers = headers


def open_cell() -> HeaderCell:
    """Make the cell of the call that begins in the current context."""
    cell = HeaderCell()
    _current.set(cell)
    return cell
