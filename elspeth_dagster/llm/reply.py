"""What a model's answer says, read from the exact bytes of a response with status 200.

Nothing is guessed: what the provider did not send stays None, and what it sent in another type too. An answer that
cannot be used is a ``Rejected`` value, since the call itself went well and is recorded (and paid) as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from elspeth_dagster.llm.answer import AnswerSchema
from elspeth_dagster.model.result import Rejected, RowResult, Succeeded
from elspeth_dagster.model.row import JSON, Row

TEXT_FIELD = "answer"
"""The field that takes a plain text answer, where no fields were declared."""

NAME_CHARS_MAX = 200
"""Model names and finish reasons are identifiers; more than this is none."""

TOKENS_MAX = 1_000_000_000
"""No completion has as many; a count beyond it is none. So the sum over millions of calls stays an exact integer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: what was said about it, and the row it makes or the reason that it makes none."""

    result: RowResult[Row]
    model_answered: str | None = None
    finish_reason: str | None = None
    content: str | None = None
    refusal: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_reply(body: bytes, answer: AnswerSchema | None, *, text_field: str = TEXT_FIELD) -> Reply:
    """Read a chat completion. Never raises for what stands in ``body``.

    Codes of a rejection: ``malformed_response`` (the body is no completion), ``response_truncated``,
    ``content_filtered``, ``refused``, and those of ``AnswerSchema.validate``.
    """
    try:
        envelope: JSON = json.loads(body)
    except (ValueError, RecursionError):
        return Reply(_malformed("The response is not JSON." if body.strip() else "The response is empty."))
    if not isinstance(envelope, dict):
        return Reply(_malformed("The response is not a JSON object."))
    usage = envelope.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    choice, message = _first_choice(envelope)
    finish_reason = _name(choice.get("finish_reason"))
    content, refusal = _text(message.get("content")), _text(message.get("refusal"))
    return Reply(
        result=_result(
            envelope,
            finish_reason=finish_reason,
            content=content,
            refusal=refusal,
            answer=answer,
            text_field=text_field,
        ),
        model_answered=_name(envelope.get("model")),
        finish_reason=finish_reason,
        content=content,
        refusal=refusal,
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
    )


def _result(
    envelope: dict[str, JSON],
    *,
    finish_reason: str | None,
    content: str | None,
    refusal: str | None,
    answer: AnswerSchema | None,
    text_field: str,
) -> RowResult[Row]:
    # Why the model stopped goes first: a cut answer is often broken JSON too, and the cut is the cause.
    if finish_reason == "length":
        return Rejected("response_truncated", message="The answer was cut at its bound of tokens.")
    if finish_reason == "content_filter":
        return Rejected("content_filtered", message="The provider's content filter stopped the answer.")
    if refusal:
        return Rejected("refused", message=refusal)
    if content is None:
        return _no_content(envelope)
    if answer is not None:
        return answer.validate(content)
    if not _is_unicode(content):
        return Rejected("invalid_json", message="The answer holds half of a surrogate pair.")
    return Succeeded({text_field: content})


def _no_content(envelope: dict[str, JSON]) -> Rejected:
    """OpenRouter reports an upstream's failure as an ``error`` object in a response of status 200."""
    error = envelope.get("error")
    if not isinstance(error, dict):
        return _malformed("The response holds no choice with a message of text.")
    code = error.get("code")
    facts: dict[str, JSON] = {"provider_status": code} if type(code) is int and 100 <= code <= 599 else {}  # noqa: PLR2004 - HTTP's range
    message = error.get("message")
    return Rejected(
        "malformed_response",
        message=message if isinstance(message, str) else "The response holds an error instead of an answer.",
        facts=facts,
    )


def _malformed(message: str) -> Rejected:
    return Rejected("malformed_response", message=message)


def _first_choice(envelope: dict[str, JSON]) -> tuple[dict[str, JSON], dict[str, JSON]]:
    choices = envelope.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return {}, {}
    message = choice.get("message")
    return choice, message if isinstance(message, dict) else {}


def _text(value: JSON) -> str | None:
    return value if isinstance(value, str) else None


def _name(value: JSON) -> str | None:
    if not isinstance(value, str) or len(value) > NAME_CHARS_MAX or not _is_unicode(value):
        return None
    return None if "\0" in value else value  # PostgreSQL's text cannot hold it, and no name has it


def _count(value: JSON) -> int | None:
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
