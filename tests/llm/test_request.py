"""The body that is sent, key by key."""

from __future__ import annotations

import json

import pytest

from elspeth_dagster.llm import AnswerSchema, ModelSettings, build_request
from elspeth_dagster.model.row import JSON

LEVEL = AnswerSchema.parse({"level": {"type": "int", "minimum": 1}})
AZURE = ModelSettings(provider="azure", model="m", base_url="https://x.openai.azure.com", api_version="v")


def body_of(settings: ModelSettings, answer: AnswerSchema | None = None) -> dict[str, JSON]:
    request = build_request(
        settings, system="Judge.", prompt="How?", answer=answer, temperature=0.0, max_tokens=9, seed=7
    )
    return request.body


def test_a_full_request_has_its_keys_in_a_fixed_order() -> None:
    assert json.dumps(body_of(ModelSettings(model="gpt-x"), LEVEL)) == json.dumps(
        {
            "model": "gpt-x",
            "messages": [
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": "How?"},
            ],
            "response_format": {"type": "json_schema", "json_schema": LEVEL.json_schema("answer")},
            "temperature": 0.0,
            "max_completion_tokens": 9,
            "seed": 7,
        }
    )


def test_what_is_not_given_is_left_to_the_provider() -> None:
    request = build_request(
        ModelSettings(model="m"), system=None, prompt="How?", answer=None, temperature=None, max_tokens=None
    )
    assert request.body == {"model": "m", "messages": [{"role": "user", "content": "How?"}]}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (ModelSettings(model="m"), "max_completion_tokens"),
        (ModelSettings(model="m", base_url="https://eu.api.openai.com/v1"), "max_completion_tokens"),
        (AZURE, "max_completion_tokens"),
        (ModelSettings(model="m", provider="openrouter"), "max_tokens"),
        (ModelSettings(model="m", base_url="http://localhost:8000/v1"), "max_tokens"),
        (ModelSettings(model="m", base_url="https://notopenai.com/v1"), "max_tokens"),
    ],
)
def test_the_bound_on_the_answer_is_called_as_the_provider_calls_it(
    settings: ModelSettings, name: str
) -> None:
    assert {"max_tokens", "max_completion_tokens"} & body_of(settings).keys() == {name}


def test_azure_is_told_bounds_in_words_and_the_others_in_keywords() -> None:
    assert '"minimum": 1' in json.dumps(body_of(ModelSettings(model="m"), LEVEL))
    azure = json.dumps(body_of(AZURE, LEVEL))
    assert "minimum" not in azure
    assert "At least 1." in azure
