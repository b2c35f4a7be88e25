"""Works on many rows at once, at the pace that a provider allows, and gives the results back in order.

Knows rows, capacity errors and time; leaves what a row means, and what is recorded of it, to its callers.
"""

from elspeth_dagster.errors import CapacityError
from elspeth_dagster.pooling.config import PoolConfig
from elspeth_dagster.pooling.controller import Controller
from elspeth_dagster.pooling.executor import PooledExecutor
from elspeth_dagster.pooling.failures import Again, is_capacity_error
from elspeth_dagster.pooling.headers import report_headers
from elspeth_dagster.pooling.reorder import BufferEntry, ReorderBuffer
from elspeth_dagster.pooling.retry_after import retry_after_s
from elspeth_dagster.pooling.rows import ProcessFn, RowContext
from elspeth_dagster.pooling.stats import PoolStats
from elspeth_dagster.pooling.stream import RowStream
from elspeth_dagster.pooling.throttle import AIMDThrottle

__all__ = [
    "AIMDThrottle",
    "Again",
    "BufferEntry",
    "CapacityError",
    "Controller",
    "PoolConfig",
    "PoolStats",
    "PooledExecutor",
    "ProcessFn",
    "ReorderBuffer",
    "RowContext",
    "RowStream",
    "is_capacity_error",
    "report_headers",
    "retry_after_s",
]
