"""What an error object may add to a status, and what it may not."""

from __future__ import annotations

import json

import pytest

from elspeth_dagster.errors import CapacityError, ModelCallError, ModelUnusableError, RequestRefusedError
from elspeth_dagster.llm.classify import TEXT_CHARS_MAX, innermost_cause, status_error


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": "model_not_found"}, ModelUnusableError),
        (400, {"code": "DeploymentNotFound"}, ModelUnusableError),
        (400, {"code": "content_filter", "message": "DeploymentNotFound"}, RequestRefusedError),
        (400, {"code": ["model_not_found"]}, RequestRefusedError),
        (400, {"code": 429}, RequestRefusedError),
        (403, {"code": 403, "message": "flagged_input"}, ModelUnusableError),
        (403, {"code": 403, "metadata": {"flagged_input": "...", "reasons": ["x"]}}, RequestRefusedError),
        (403, {"code": 403, "metadata": "flagged_input"}, ModelUnusableError),
        (429, {"code": "model_not_found"}, CapacityError),
        (429, {"code": "rate_limit_exceeded", "message": "insufficient_quota"}, CapacityError),
        (429, {"code": "insufficient_quota"}, ModelUnusableError),
        (429, {"code": "billing_hard_limit_reached"}, ModelUnusableError),
        (422, "model_not_found", RequestRefusedError),
    ],
)
def test_a_code_counts_only_as_a_field_of_the_error_object(
    status: int, error: object, kind: type[ModelCallError]
) -> None:
    made = status_error(status, text=json.dumps({"error": error}), headers={})
    assert type(made) is kind


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"error": null}', "model_not_found"])
def test_a_body_that_is_no_error_object_leaves_the_status_to_decide(text: str) -> None:
    assert type(status_error(400, text=text, headers={})) is RequestRefusedError


def test_the_providers_words_are_one_line_of_bounded_length() -> None:
    error = status_error(500, text="a\nb " * 100_000, headers={})
    assert "\n" not in error.what
    assert len(error.what) < TEXT_CHARS_MAX + 100


def test_what_stops_a_node_says_what_to_do() -> None:
    for status in (301, 401, 402, 403, 404, 405, 407, 410):
        assert status_error(status, text="", headers={}).hint


def test_an_account_without_credit_says_so_whatever_its_status() -> None:
    text = json.dumps({"error": {"code": "insufficient_quota"}})

    assert status_error(429, text=text, headers={}).hint == status_error(402, text="", headers={}).hint


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert innermost_cause(one) in (one, two)
