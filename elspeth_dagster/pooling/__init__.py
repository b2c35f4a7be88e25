"""Works on many rows at once, at the pace that a provider allows, and gives the results back in order.

Knows rows, capacity errors and time; leaves what a row means, and what is recorded of it, to its callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth_dagster.errors import CapacityError
from elspeth_dagster.lazily import loader

if TYPE_CHECKING:
    from elspeth_dagster.pooling.adapter import HasTokenId, RowWaiter, SharedBatchAdapter
    from elspeth_dagster.pooling.config import PoolConfig
    from elspeth_dagster.pooling.controller import Controller
    from elspeth_dagster.pooling.executor import PooledExecutor
    from elspeth_dagster.pooling.failures import Again, is_capacity_error
    from elspeth_dagster.pooling.gathering import RowEntries
    from elspeth_dagster.pooling.headers import report_headers
    from elspeth_dagster.pooling.ports import AdapterPort, HoldingPort, OutputPort, QueuePort
    from elspeth_dagster.pooling.reorder import BufferEntry, ReorderBuffer
    from elspeth_dagster.pooling.retry_after import retry_after_s
    from elspeth_dagster.pooling.rows import ProcessFn, RowContext
    from elspeth_dagster.pooling.stats import PoolStats
    from elspeth_dagster.pooling.stream import RowStream
    from elspeth_dagster.pooling.streaming import BatchMetrics, PooledTransform, StreamingTransform
    from elspeth_dagster.pooling.throttle import AIMDThrottle

__all__ = [
    "AIMDThrottle",
    "AdapterPort",
    "Again",
    "BatchMetrics",
    "BufferEntry",
    "CapacityError",
    "Controller",
    "HasTokenId",
    "HoldingPort",
    "OutputPort",
    "PoolConfig",
    "PoolStats",
    "PooledExecutor",
    "PooledTransform",
    "ProcessFn",
    "QueuePort",
    "ReorderBuffer",
    "RowContext",
    "RowEntries",
    "RowStream",
    "RowWaiter",
    "SharedBatchAdapter",
    "StreamingTransform",
    "is_capacity_error",
    "report_headers",
    "retry_after_s",
]

__getattr__ = loader(
    __name__,
    {
        "adapter": ["HasTokenId", "RowWaiter", "SharedBatchAdapter"],
        "config": ["PoolConfig"],
        "controller": ["Controller"],
        "executor": ["PooledExecutor"],
        "failures": ["Again", "is_capacity_error"],
        "gathering": ["RowEntries"],
        "headers": ["report_headers"],
        "ports": ["AdapterPort", "HoldingPort", "OutputPort", "QueuePort"],
        "reorder": ["BufferEntry", "ReorderBuffer"],
        "retry_after": ["retry_after_s"],
        "rows": ["ProcessFn", "RowContext"],
        "stats": ["PoolStats"],
        "stream": ["RowStream"],
        "streaming": ["BatchMetrics", "PooledTransform", "StreamingTransform"],
        "throttle": ["AIMDThrottle"],
    },
)
