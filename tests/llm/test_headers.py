"""Which headers of a response are kept, and in what state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.llm.headers import HEADERS_MAX, VALUE_CHARS_MAX, kept_headers, request_id
from elspeth_dagster.model.redaction import Redactor

NO_SECRETS = Redactor()


@pytest.mark.parametrize(
    "name", ["Set-Cookie", "Authorization", "api-key", "Server", "X-Rate", "Retry-After-"]
)
def test_a_header_that_is_not_listed_is_dropped(name: str) -> None:
    assert kept_headers([(name, "x")], redactor=NO_SECRETS) == {}


@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset-Tokens", "x-ms-region", "REQUEST-ID"])
def test_a_listed_header_is_kept_in_lower_case(name: str) -> None:
    assert kept_headers([(name, "x")], redactor=NO_SECRETS) == {name.lower(): "x"}


@given(
    st.lists(st.tuples(st.from_regex(r"x-ratelimit-[a-z]{1,300}", fullmatch=True), st.text()), max_size=60)
)
def test_what_is_kept_is_bounded_and_plain(headers: list[tuple[str, str]]) -> None:
    kept = kept_headers(headers, redactor=NO_SECRETS)
    assert len(kept) <= HEADERS_MAX
    assert all(value.isascii() and len(value) <= VALUE_CHARS_MAX for value in kept.values())


def test_a_value_that_repeats_the_secret_is_kept_without_it() -> None:
    kept = kept_headers([("x-request-id", "for s3cret-key")], redactor=Redactor(["s3cret-key"]))
    assert kept == {"x-request-id": "for [redacted]"}


def test_the_request_id_is_that_of_whichever_provider() -> None:
    assert request_id({"apim-request-id": "a"}) == "a"
    assert request_id({"request-id": "b", "x-request-id": "c"}) == "c"
    assert request_id({}) is None
