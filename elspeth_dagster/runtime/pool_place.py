"""Where a row stood in its pool, before and after reordering: the evidence of the order, and the time it took."""

from __future__ import annotations

from typing import TypeVar

from elspeth_dagster.model.row import JSON
from elspeth_dagster.pooling import BufferEntry

T = TypeVar("T")


def place_in_pool(entry: BufferEntry[T], *, began_s: float) -> dict[str, JSON]:
    """The entry's indices, its wait, and its offsets from ``began_s``, the node's own beginning."""
    return {
        "submit_index": entry.submit_index,
        "complete_index": entry.complete_index,
        "buffer_wait_ms": round(entry.buffer_wait_ms, 3),
        "submit_offset_ms": _offset_ms(entry.submit_timestamp, began_s),
        "complete_offset_ms": _offset_ms(entry.complete_timestamp, began_s),
    }


def span_s(entry: BufferEntry[T]) -> tuple[float, float]:
    """From the first dispatch to the end, in monotonic seconds."""
    began_s = entry.dispatch_timestamp
    return (entry.submit_timestamp if began_s is None else began_s), entry.complete_timestamp


def _offset_ms(moment_s: float, began_s: float) -> float:
    return round((moment_s - began_s) * 1000, 3)
