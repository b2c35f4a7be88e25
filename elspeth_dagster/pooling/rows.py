"""What goes into a pool: rows with the state they are worked on under, and the function that works on them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from elspeth_dagster.model.result import RowResult

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowContext(Generic[R]):
    """One row, the state it is worked on under, and its number in the source."""

    row: R
    state_id: str
    row_index: int


ProcessFn = Callable[[R, str], RowResult[T] | Awaitable[RowResult[T]]]
"""``process_fn(row, state_id)``: a plain function (run in a thread) or an ``async def`` (run on the loop)."""


def is_async(process_fn: Callable[..., object]) -> bool:
    """Whether calling ``process_fn`` gives a coroutine, as far as its declaration tells."""
    return inspect.iscoroutinefunction(process_fn) or inspect.iscoroutinefunction(
        getattr(process_fn, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    )
