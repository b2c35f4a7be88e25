"""What is recorded of a failed call: the provider's support finds it by its id, whatever its header is called."""

from __future__ import annotations

import pytest

from elspeth_dagster.errors import ModelCallError
from elspeth_dagster.runtime.call_records import REQUEST_ID_CHARS_MAX, facts_of


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "apim-request-id"])
def test_a_failed_call_keeps_the_providers_request_id(name: str) -> None:
    error = ModelCallError("It failed.", error_type="InternalServerError", headers={name: "r-1"})

    assert facts_of(error) == {"error_type": "InternalServerError", "request_id": "r-1"}


def test_a_request_id_is_bounded_and_may_be_missing() -> None:
    long = ModelCallError(
        "It failed.",
        error_type="InternalServerError",
        headers={"x-request-id": "r" * 10_000},
    )
    without = ModelCallError("It failed.", error_type="APITimeoutError")

    assert facts_of(long)["request_id"] == "r" * REQUEST_ID_CHARS_MAX
    assert facts_of(without) == {"error_type": "APITimeoutError"}
