"""What is retried: told by type and status, never by words."""

from __future__ import annotations

import http

import pytest

from elspeth_dagster.errors import CapacityError, ModelUnusableError, RequestRefusedError, TransientError
from elspeth_dagster.pooling import CapacityError as FacadeCapacityError
from elspeth_dagster.pooling import is_capacity_error
from elspeth_dagster.pooling.failures import FailureKind, headers_of, kind_of


class StatusError(Exception):
    """An error of somebody else's library."""

    def __init__(self, status_code: object) -> None:
        super().__init__("x")
        self.status_code = status_code


@pytest.mark.parametrize("status", [429, 503, 529, http.HTTPStatus.TOO_MANY_REQUESTS])
def test_capacity_is_told_by_status(status: int) -> None:
    assert is_capacity_error(status)
    assert is_capacity_error(StatusError(status))


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500, 502, 504])
def test_other_statuses_are_not_capacity(status: int) -> None:
    assert not is_capacity_error(status)
    assert not is_capacity_error(StatusError(status))


def test_words_decide_nothing() -> None:
    assert not is_capacity_error(RuntimeError("429 Too Many Requests: rate limit"))
    assert kind_of(RuntimeError("connection reset")) is FailureKind.BUG
    assert kind_of(StatusError("429")) is FailureKind.BUG


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CapacityError("x"), FailureKind.CAPACITY),
        (TransientError("x", status_code=500), FailureKind.TRANSIENT),
        (RequestRefusedError("x", status_code=429), FailureKind.BUG),
        (ModelUnusableError("x", status_code=401), FailureKind.BUG),
        (ConnectionResetError(), FailureKind.TRANSIENT),
        (TimeoutError(), FailureKind.TRANSIENT),
        (ConnectionRefusedError(), FailureKind.BUG),
        (KeyError("x"), FailureKind.BUG),
        *((StatusError(status), FailureKind.TRANSIENT) for status in (408, 409, 500, 502, 504)),
    ],
)
def test_an_exception_is_of_this_kind(error: BaseException, kind: FailureKind) -> None:
    assert kind_of(error) is kind


def test_headers_are_found_on_the_error_or_its_response() -> None:
    foreign = StatusError(429)
    assert headers_of(foreign) == {}
    foreign.response = StatusError(429)  # type: ignore[attr-defined]
    foreign.response.headers = {"retry-after": "1"}  # type: ignore[attr-defined]

    assert headers_of(foreign) == {"retry-after": "1"}
    assert headers_of(CapacityError("x", headers={"retry-after": "2"})) == {"retry-after": "2"}


def test_the_pool_hands_out_the_one_capacity_error() -> None:
    assert FacadeCapacityError is CapacityError
