"""The body of one chat-completions request, as plain JSON in a fixed order of keys.

The same arguments give the same body, so that its canonical hash means something; hashing and sending are done
elsewhere. Two parameters depend on who answers:

- ``max_tokens``: OpenAI and Azure call the bound ``max_completion_tokens`` (their reasoning models refuse the older
  name); OpenRouter and the many servers that imitate the API know ``max_tokens``.
- ``minimum`` and ``maximum`` in the answer's schema: Azure refuses schemas that hold them, so there a short
  range becomes a list of choices and other bounds are told in words. They are checked when the answer
  comes, whoever gave it.
"""

from __future__ import annotations

from dataclasses import dataclass

from elspeth_dagster.llm.answer import AnswerSchema
from elspeth_dagster.llm.settings import ModelSettings
from elspeth_dagster.model.row import JSON

SCHEMA_NAME = "answer"


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to the model: nothing is added to ``body`` on the way."""

    body: dict[str, JSON]


def build_request(
    settings: ModelSettings,
    *,
    system: str | None,
    prompt: str,
    answer: AnswerSchema | None,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None = None,
) -> Request:
    """Return the request for one prompt. What is None is left out: the provider's default holds."""
    messages: list[JSON] = []
    if system is not None:
        messages.append({"role": "system", "content": system})
    messages.append({"role": "user", "content": prompt})
    body: dict[str, JSON] = {"model": settings.model, "messages": messages}
    if answer is not None:
        body["response_format"] = _response_format(settings, answer)
    if temperature is not None:
        body["temperature"] = temperature
    if max_tokens is not None:
        body[_name_of_max_tokens(settings)] = max_tokens
    if seed is not None:
        body["seed"] = seed
    return Request(body)


def _response_format(settings: ModelSettings, answer: AnswerSchema) -> JSON:
    schema = answer.json_schema(SCHEMA_NAME, number_bounds=settings.provider != "azure")
    return {"type": "json_schema", "json_schema": schema}


def _name_of_max_tokens(settings: ModelSettings) -> str:
    is_openai = settings.provider == "openai" and (
        settings.host == "openai.com" or settings.host.endswith(".openai.com")
    )
    return "max_completion_tokens" if is_openai or settings.provider == "azure" else "max_tokens"
