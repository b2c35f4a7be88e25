"""Which failures are retried. Told by exception type and status code, never by words in a message."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from elspeth_dagster.errors import CapacityError, ModelCallError, TransientError

CAPACITY_STATUS = frozenset({429, 503, 529})
"""Too many requests, service unavailable, overloaded: slow down."""

TRANSIENT_STATUS = frozenset({408, 409, 500, 502, 504})
"""A later try may go through, at whatever pace."""

TRANSIENT_TYPES = (ConnectionResetError, TimeoutError)
"""The plain exceptions of a connection that broke and of an answer that did not come in time."""


class FailureKind(Enum):
    """What a pool does about an exception of a process function."""

    CAPACITY = "capacity"
    TRANSIENT = "transient"
    AGAIN = "again"
    BUG = "bug"


class Again(Exception):  # noqa: N818 - a request to the pool, no error
    """Raised by a process function to be called once more for the same row: its call went well, but it needs another.

    The row goes to the head of the queue and passes the gate like any other call; nothing slows down for it. How often
    is the process function's own business, and must be bounded there.
    """


def is_capacity_error(error: BaseException | int) -> bool:
    """Whether a status code, or an exception's, says that the provider has no capacity now."""
    if isinstance(error, int):
        return error in CAPACITY_STATUS
    return kind_of(error) is FailureKind.CAPACITY


def kind_of(error: BaseException) -> FailureKind:
    """What to do about ``error``: our own types say it themselves, foreign ones by their ``status_code``."""
    if isinstance(error, Again):
        return FailureKind.AGAIN
    if isinstance(error, CapacityError):
        return FailureKind.CAPACITY
    if isinstance(error, TransientError):
        return FailureKind.TRANSIENT
    if isinstance(error, ModelCallError):
        return FailureKind.BUG
    status = status_of(error)
    if status in CAPACITY_STATUS:
        return FailureKind.CAPACITY
    if status in TRANSIENT_STATUS or isinstance(error, TRANSIENT_TYPES):
        return FailureKind.TRANSIENT
    return FailureKind.BUG


def status_of(error: BaseException) -> int | None:
    """The HTTP status of ``error``, None where there was no response."""
    status = getattr(error, "status_code", None)
    return int(status) if isinstance(status, int) else None


def type_of(error: BaseException) -> str:
    """The class name to record: the innermost cause's, where the error knows it."""
    return error.error_type if isinstance(error, ModelCallError) else type(error).__name__


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The response's headers, as far as ``error`` carries them."""
    headers = getattr(error, "headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return headers if isinstance(headers, Mapping) else {}
