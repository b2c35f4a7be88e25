"""Pages: a bounded number of results, and where to go on. A cursor is opaque to whoever passes it back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import LandscapeError

PAGE_DEFAULT: Final = 100  # a screen or two
PAGE_MAX: Final = 1_000  # records in memory at a time

Item = TypeVar("Item")
Found = sa.Row[*tuple[Any, ...]]
Key = str | int | bytes
Columns = Sequence[sa.Column[Any]]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some results in order. ``next`` goes into the same question's ``after``; None: there is no more."""

    items: tuple[Item, ...]
    next: str | None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def paged(
    connection: Connection,
    question: sa.Select[*tuple[Any, ...]],
    item: Callable[[Found], Item],
    *,
    by: Columns,
    after: str | None,
    limit: int,
    is_latest_first: bool = False,
) -> Page[Item]:
    """The results of ``question`` behind ``after``, in the order of the columns ``by``, which tell them all apart.

    Raises:
        LandscapeError: ``limit`` is not from 1 to 1,000, or no such question gave ``after``.
    """
    last = keys_at(after, by)
    if last is not None:
        here, there = sa.tuple_(*by), sa.tuple_(*map(sa.literal, last))
        question = question.where(here < there if is_latest_first else here > there)
    question = question.order_by(*((column.desc() for column in by) if is_latest_first else by))
    found = connection.execute(question.limit(bounded(limit) + 1)).all()
    return page_of(found, item, by=by, limit=limit)


def page_of(found: Sequence[Found], item: Callable[[Found], Item], *, by: Columns, limit: int) -> Page[Item]:
    """A page of what was found: at most ``limit`` results, and one more if there is more."""
    kept = found[:limit]
    return Page(tuple(map(item, kept)), _cursor_at(kept[-1], by) if len(found) > limit else None)


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


def _cursor_at(found: Found, by: Columns) -> str:
    """A cursor behind this result."""
    keys = [getattr(found, column.key) for column in by]
    told = [key.hex() if isinstance(key, bytes) else key for key in keys]
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


def keys_at(cursor: str | None, by: Columns) -> list[Key] | None:
    """The keys in a cursor; None for the beginning.

    Raises:
        LandscapeError: no such question gave it.
    """
    if cursor is None:
        return None
    try:
        told = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [_key(one, column.type.python_type) for one, column in zip(told, by, strict=True)]
    except (ValueError, TypeError):
        raise LandscapeError(
            "This cursor is not one of this question's.",
            where=f"after={cursor[:40]!r}",
            hint="pass on a page's `next` as it was given, to the same question",
        ) from None


def _key(told: object, kind: type[object]) -> Key:
    """A key as it was before it was told.

    Raises:
        ValueError, TypeError: it is none of this kind.
    """
    if kind is bytes and isinstance(told, str):
        return bytes.fromhex(told)
    if told.__class__ is kind and isinstance(told, str | int):
        return told
    raise TypeError(kind)
