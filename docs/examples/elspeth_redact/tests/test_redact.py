# ruff: noqa: D103, S101 - tests are named by their claim, and assert
"""How a kind is tested: by itself, without a run."""

from elspeth_redact import Redactor

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.nodes.base import Emitted


def test_addresses_are_hidden_and_the_rest_stays() -> None:
    decided = Redactor(("text",), "[hidden]").decide({"id": 1, "text": "write to ana@example.org now"})
    assert decided == Emitted({"id": 1, "text": "write to [hidden] now"})


def test_a_field_that_is_no_text_is_the_rows_error() -> None:
    decided = Redactor(("text",), "[hidden]").decide({"text": 3})
    assert isinstance(decided, Rejected)
    assert decided.reason == "not_text"
