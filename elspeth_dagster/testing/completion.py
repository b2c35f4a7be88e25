"""The body of a chat completion: the answer in OpenAI's wrapping, whole or spoiled by a fault."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing.answers import answer_for
from elspeth_dagster.testing.chat import ChatRequest
from elspeth_dagster.testing.draws import key_of
from elspeth_dagster.testing.faults import Fault
from elspeth_dagster.testing.response import RequestError
from elspeth_dagster.testing.schema import ALL_TYPES, SchemaError, resolved, types_of
from elspeth_dagster.testing.words import sentence

CHARS_PER_TOKEN = 4
"""The rule of thumb for English text."""

CREATED_S = 1_735_689_600
"""The ``created`` of every answer: the same request gets the same bytes whenever it comes."""

_WRONG: Mapping[str, JSON] = {
    "object": {"unexpected": True},
    "string": "high",
    "array": ["unexpected"],
    "boolean": True,
    "null": None,
}
"""A value of each type, to put where that type is not allowed."""


def completion_body(request: ChatRequest, *, seed: bytes, fault: Fault | None = None) -> bytes:
    """The response's body. A function of the seed, the messages' text, the schema and the fault alone.

    Raises:
        RequestError: no answer satisfies the schema.
    """
    key = key_of(seed, request.text.encode("utf-8", "surrogatepass"))
    content: str | None = _content(request, key=key, fault=fault)
    refusal: str | None = None
    finish_reason = "stop"
    if fault is Fault.REFUSAL:
        content, refusal = None, "I cannot help with that."
    elif fault is Fault.LENGTH and content:
        content, finish_reason = content[: len(content) // 2], "length"
    elif fault is Fault.CONTENT_FILTER:
        content, finish_reason = "", "content_filter"
    message = {"role": "assistant", "content": content, "refusal": refusal}
    body: dict[str, object] = {
        "id": f"chatcmpl-{key.hex()}",
        "object": "chat.completion",
        "created": CREATED_S,
        "model": request.model,
        "system_fingerprint": f"fp_{seed.hex()}",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
    }
    if fault is not Fault.NO_USAGE:
        body["usage"] = _usage(request.text, content or refusal or "")
    return json.dumps(body).encode()


def _usage(asked: str, said: str) -> dict[str, int]:
    prompt_tokens = math.ceil(len(asked) / CHARS_PER_TOKEN)
    completion_tokens = math.ceil(len(said) / CHARS_PER_TOKEN)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _content(request: ChatRequest, *, key: bytes, fault: Fault | None) -> str:
    if fault is Fault.ANSWER_NOT_JSON:
        return "Let me think about that. It could be one or the other."
    if request.schema is None and not request.json_object:
        return "NaN" if fault is Fault.NAN else sentence(key=key, path="$")
    answer = _answer(request, key=key)
    if fault is Fault.MISSING_FIELDS:
        answer = _without_last(answer)
    elif fault is Fault.WRONG_TYPES:
        answer = _wrong_types(answer, request.schema)
    elif fault is Fault.NAN:
        answer = _with_nan(answer)
    text = json.dumps(answer, ensure_ascii=False)
    return text[: max(1, len(text) - 2)] if fault is Fault.ANSWER_TRUNCATED else text


def _answer(request: ChatRequest, *, key: bytes) -> JSON:
    if request.schema is None:
        return {"answer": sentence(key=key, path="$.answer")}
    try:
        return answer_for(request.schema, key=key, said=request.last_user)
    except SchemaError as problem:
        message = f"The fake model cannot satisfy the schema: {problem}."
        raise RequestError(400, message, param="response_format") from problem


def _without_last(answer: JSON) -> JSON:
    return dict(list(answer.items())[:-1]) if isinstance(answer, dict) else {}


def _with_nan(answer: JSON) -> JSON:
    """NaN in place of the first number, or of the first field where there is no number."""
    if not isinstance(answer, dict) or not answer:
        return math.nan
    numbers = [name for name, value in answer.items() if type(value) in (int, float)]
    return {**answer, (numbers or list(answer))[0]: math.nan}


def _wrong_types(answer: JSON, schema: JSON) -> JSON:
    """Each field's value replaced by one of a type that its schema does not allow, where there is such a type."""
    if not isinstance(answer, dict) or not isinstance(schema, dict):
        return ["unexpected"]
    properties = resolved(schema, schema).get("properties")
    fields = properties if isinstance(properties, dict) else {}
    return {name: _wrong(value, types_of(fields.get(name, True), schema)) for name, value in answer.items()}


def _wrong(value: JSON, allowed: frozenset[str]) -> JSON:
    if allowed >= ALL_TYPES:
        return value
    numeric = not allowed.isdisjoint({"integer", "number"})
    order = ("string", "object", "array", "boolean", "null") if numeric else _WRONG
    return next((_WRONG[kind] for kind in order if kind not in allowed), value)
