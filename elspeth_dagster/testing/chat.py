"""What a chat-completion request asks: its messages' text, its schema, its model."""

from __future__ import annotations

import json
from dataclasses import dataclass

from elspeth_dagster.model.row import JSON
from elspeth_dagster.testing.response import RequestError


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The parts of a request that its answer depends on."""

    model: str
    text: str
    """All messages, with their roles."""
    last_user: str
    """The last message of the user."""
    schema: JSON
    """The JSON schema that the answer must satisfy; None: free text."""
    json_object: bool
    """Some JSON object is asked for, without a schema."""


def parse_chat(body: bytes, *, deployment: str | None = None) -> ChatRequest:
    """Read a request's body; ``deployment`` stands in for a model that Azure's clients may leave out.

    Raises:
        RequestError: not JSON, no messages, or something this server does not do.
    """
    given = _object(body)
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "'messages' must be a list with at least one message.", param="messages")
    if given.get("stream"):
        raise RequestError(400, "The fake model does not stream: leave 'stream' out.", param="stream")
    model = given.get("model", deployment)
    if not isinstance(model, str) or not model:
        raise RequestError(400, "'model' must name a model.", param="model")
    lines: list[str] = []
    last_user = ""
    for message in messages:
        role, text = _message(message)
        lines.append(f"{role}: {text}")
        if role == "user":
            last_user = text
    schema, json_object = _response_format(given.get("response_format"))
    return ChatRequest(model, "\n".join(lines), last_user, schema, json_object)


def _object(body: bytes) -> dict[str, JSON]:
    try:
        given: JSON = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "The request's body is not JSON.") from None
    if not isinstance(given, dict):
        raise RequestError(400, "The request's body is not a JSON object.")
    return given


def _message(message: JSON) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise RequestError(400, "Each message is an object with a 'role'.", param="messages")
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return str(message["role"]), "\n".join(text for text in texts if isinstance(text, str))
    if content is not None and not isinstance(content, str):
        raise RequestError(400, "A message's 'content' is text or a list of parts.", param="messages")
    return str(message["role"]), content or ""


def _response_format(given: JSON) -> tuple[JSON, bool]:
    if given is None:
        return None, False
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or kind not in {"text", "json_object", "json_schema"}:
        message = "'response_format' is of type text, json_object or json_schema."
        raise RequestError(400, message, param="response_format")
    if kind != "json_schema":
        return None, kind == "json_object"
    wrapper = given.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict):
        raise RequestError(
            400, "'json_schema' must hold a 'schema'.", param="response_format.json_schema.schema"
        )
    return schema, False
