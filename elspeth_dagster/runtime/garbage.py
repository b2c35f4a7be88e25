"""Keep the collector of garbage off what was there before: hundreds of modules, loaded for good."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """While rows flow, look only at objects that are made from here on.

    A hundred thousand records pass through the oldest generation for every few thousand rows; each time the collector
    would walk all of Dagster, pydantic and the SDK, and find nothing. Frozen objects are still freed when their last
    reference goes; only cycles among them wait for the end.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
