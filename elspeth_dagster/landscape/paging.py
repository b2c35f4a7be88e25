"""Pages: a bounded number of results, and where to go on. A cursor is opaque to whoever passes it back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from elspeth_dagster.errors import LandscapeError

PAGE_DEFAULT: Final = 100  # a screen or two
PAGE_MAX: Final = 1_000  # records in memory at a time

Item = TypeVar("Item")
Found = TypeVar("Found")
Key = str | int


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some results in order. ``next`` goes into the same question's ``after``; None: there is no more."""

    items: tuple[Item, ...]
    next: str | None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def page_of(
    found: Sequence[Found],
    limit: int,
    *,
    item: Callable[[Found], Item],
    key: Callable[[Found], Sequence[Key]],
) -> Page[Item]:
    """The page that ``limit + 1`` results make; ``key`` is what the last one's successors are greater than."""
    kept = found[:limit]
    return Page(tuple(map(item, kept)), cursor_at(key(kept[-1])) if len(found) > limit else None)


def bounded(limit: int) -> int:
    """``limit``, if it is one.

    Raises:
        LandscapeError: it is not from 1 to 1,000.
    """
    if isinstance(limit, bool) or not 1 <= limit <= PAGE_MAX:
        raise LandscapeError(
            f"A page has 1 to {PAGE_MAX:,} results, not {limit}.",
            where="limit",
            hint="go on with the page's `next` to get more",
        )
    return limit


def cursor_at(keys: Sequence[Key]) -> str:
    """A cursor behind the result with these keys."""
    return base64.urlsafe_b64encode(json.dumps(list(keys)).encode()).decode().rstrip("=")


def keys_at(cursor: str | None, *kinds: type[Key]) -> tuple[Key, ...] | None:
    """The keys in a cursor; None for the first page.

    Raises:
        LandscapeError: no such question gave it.
    """
    if cursor is None:
        return None
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        keys = None
    if (
        not isinstance(keys, list)
        or len(keys) != len(kinds)
        or any(key.__class__ is not kind for key, kind in zip(keys, kinds, strict=True))
    ):
        raise LandscapeError(
            "This cursor is not one of this question's.",
            where=f"after={cursor[:40]!r}",
            hint="pass on a page's `next` as it was given, to the same question",
        )
    return tuple(keys)
