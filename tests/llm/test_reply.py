"""What is read out of a response, and that nothing is read into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.llm import AnswerSchema, Reply, read_reply
from elspeth_dagster.model.result import Rejected, Succeeded

if TYPE_CHECKING:
    from tests.llm.conftest import Wire

MOOD = AnswerSchema.parse({"mood": {"enum": ["calm", "worried"]}})


def choice(finish_reason: object = "stop", **message: object) -> list[object]:
    return [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}]


def reason(reply: Reply) -> str:
    assert isinstance(reply.result, Rejected)
    return reply.result.reason


def test_a_whole_completion_is_read_whole(wire: Wire) -> None:
    assert read_reply(wire.completion(), MOOD) == Reply(
        result=Succeeded({"mood": "calm"}),
        model_answered="m-2",
        finish_reason="stop",
        content='{"mood": "calm"}',
        prompt_tokens=10,
        completion_tokens=5,
    )


def test_without_declared_fields_the_text_is_the_answer(wire: Wire) -> None:
    body = wire.completion("Hello, wörld")
    assert read_reply(body, None).result == Succeeded({"answer": "Hello, wörld"})
    assert read_reply(body, None, text_field="said").result == Succeeded({"said": "Hello, wörld"})


@pytest.mark.parametrize(
    ("choices", "code"),
    [
        (choice("length", content='{"mood": "ca'), "response_truncated"),
        (choice("length", content='{"mood": "calm"}'), "response_truncated"),
        (choice("length", content=None), "response_truncated"),
        (choice("content_filter", content=None), "content_filtered"),
        (choice("content_filter", content='{"mood": "calm"}'), "content_filtered"),
        (choice(content=None, refusal="I can't help with that."), "refused"),
        (choice(content="calm"), "invalid_json"),
        (choice(content=""), "invalid_json"),
        (choice(content='{"mood": NaN}'), "invalid_json"),
        (choice(content="{}"), "missing_field"),
        (choice(content='{"mood": "angry"}'), "type_mismatch"),
        (choice(content='{"mood": "calm", "more": 1}'), "unexpected_field"),
        (choice(content=None), "malformed_response"),
        (choice("tool_calls", content=None, tool_calls=[{}]), "malformed_response"),
        (choice(content=[{"type": "text", "text": "{}"}]), "malformed_response"),
        ([], "malformed_response"),
        ([None], "malformed_response"),
        ([{"message": "calm"}], "malformed_response"),
        ({}, "malformed_response"),
        (None, "malformed_response"),
    ],
)
def test_an_answer_that_cannot_be_used_has_its_code_and_keeps_its_usage(
    wire: Wire, choices: object, code: str
) -> None:
    reply = read_reply(wire.completion(choices=choices), MOOD)
    assert reason(reply) == code
    assert (reply.prompt_tokens, reply.completion_tokens) == (10, 5)


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{", b"<html>", b"\xff\xff", b"[]", b'"x"', b"null", b"{}", b"[" * 100_000],
)
def test_a_body_that_is_no_completion_is_malformed(body: bytes) -> None:
    assert reason(read_reply(body, MOOD)) == "malformed_response"
    assert reason(read_reply(body, None)) == "malformed_response"


@pytest.mark.parametrize("code", [502, "502", None, True, 10**9])
def test_an_error_within_a_response_of_status_200_is_told(code: object) -> None:
    body = json.dumps({"error": {"code": code, "message": "upstream died"}}).encode()
    result = read_reply(body, MOOD).result
    assert isinstance(result, Rejected)
    assert (result.reason, result.message) == ("malformed_response", "upstream died")
    assert result.facts == ({"provider_status": 502} if code == 502 and isinstance(code, int) else {})


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "10",
        {},
        {"prompt_tokens": "10"},
        {"prompt_tokens": True},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": 2**53 - 1, "completion_tokens": 1_000_000_001},
    ],
)
def test_usage_that_is_missing_or_of_another_type_stays_missing(wire: Wire, usage: object) -> None:
    reply = read_reply(wire.completion(usage=usage), MOOD)
    assert isinstance(reply.result, Succeeded)
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)


@pytest.mark.parametrize("model", [None, 3, "x" * 201, "\ud800", "m\0"])
def test_a_model_name_that_is_none_stays_missing(wire: Wire, model: object) -> None:
    assert read_reply(wire.completion(model=model), MOOD).model_answered is None


def test_a_text_that_no_row_can_hold_is_refused(wire: Wire) -> None:
    assert reason(read_reply(wire.completion("half \ud83d"), None)) == "invalid_json"


@given(st.binary(max_size=80))
def test_no_bytes_make_reading_raise(body: bytes) -> None:
    assert isinstance(read_reply(body, MOOD).result, Rejected)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "refusal", "usage", "error"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"choices": JSON_VALUES, "usage": JSON_VALUES, "model": JSON_VALUES}))
def test_no_envelope_makes_reading_raise(envelope: dict[str, object]) -> None:
    assert isinstance(read_reply(json.dumps(envelope).encode(), None).result, Succeeded | Rejected)
