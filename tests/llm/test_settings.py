"""Settings: what is refused, where requests go, and how the key is found."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from elspeth_dagster.errors import MissingSecretError
from elspeth_dagster.llm import ModelSettings, Price, cost_usd, resolve_key

AZURE = {"provider": "azure", "model": "m", "base_url": "https://x.openai.azure.com", "api_version": "v"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": ""}, "at least 1 character"),
        ({"model": "m", "headers": {}}, "Extra inputs"),
        ({"model": "m", "provider": "acme"}, "'openai', 'azure' or 'openrouter'"),
        ({"model": "m", "base_url": "https://user:hunter2@host/v1"}, "holds a user or password"),
        ({"model": "m", "base_url": "https://hunter2@host/v1"}, "holds a user or password"),
        ({"model": "m", "base_url": "ftp://host"}, "full URL"),
        ({"model": "m", "base_url": "host/v1"}, "full URL"),
        ({"model": "m", "base_url": "https://"}, "full URL"),
        ({"model": "m", "base_url": "https://host:port/"}, "not a URL"),
        ({"model": "m", "base_url": "https://[::1/"}, "not a URL"),
        ({"model": "m", "base_url": "https://host/v1?key=hunter2"}, "no '?'"),
        ({"model": "m", "base_url": "https://ho st/v1"}, "a space"),
        ({"model": "m", "api_key_env": "sk-hunter2"}, "never the key"),
        ({"model": "m", "api_key_env": "0123456789abcdefhunter2"}, "never the key"),
        ({"model": "m", "api_key_env": ""}, "never the key"),
        ({"model": "m", "api_key_env": None}, "may be null only"),
        ({"model": "m", "api_key_env": None, "base_url": "http://10.0.0.1"}, "may be null only"),
        ({"model": "m", "api_key_env": None, "base_url": "http://localhost.example.org"}, "may be null only"),
        ({"model": "m", "deployment": "d"}, "belongs to provider 'azure'"),
        ({"model": "m", "api_version": "v"}, "belongs to provider 'azure'"),
        ({"model": "m", "provider": "azure"}, "needs base_url"),
        ({**AZURE, "api_version": None}, "needs base_url"),
        ({**AZURE, "base_url": "https://x.openai.azure.com/openai/v1"}, "bare endpoint"),
        ({"model": "m", "timeout_s": 0}, "greater than 0"),
        ({"model": "m", "timeout_s": float("nan")}, "finite"),
        ({"model": "m", "connect_timeout_s": 1e9}, "less than or equal"),
        ({"model": "m", "price": {"input": -1, "output": 1}}, "greater than or equal to 0"),
        ({"model": "m", "price": {"input": "NaN", "output": 1}}, "finite"),
        ({"model": "m", "price": {"input": 1}}, "Field required"),
    ],
)
def test_a_mistake_is_refused_without_repeating_what_was_given(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ModelSettings.model_validate(given)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({}, "OPENAI_API_KEY"),
        ({"provider": "openrouter"}, "OPENROUTER_API_KEY"),
        (AZURE, "AZURE_OPENAI_API_KEY"),
        ({"api_key_env": "MY_KEY"}, "MY_KEY"),
        ({"base_url": "http://localhost:8000/v1"}, "OPENAI_API_KEY"),
    ],
)
def test_the_key_is_that_of_the_named_variable(given: dict[str, object], variable: str) -> None:
    settings = ModelSettings.model_validate({"model": "m", **given})
    assert resolve_key(settings, {variable: " k-1\n", "OTHER": "x"}) == "k-1"
    assert ModelSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}])
def test_a_missing_key_names_its_variable_and_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(MissingSecretError, match="OPENAI_API_KEY is not set") as caught:
        resolve_key(ModelSettings(model="m"), environ)
    assert caught.value.hint is not None


@pytest.mark.parametrize("key", ["hunter2\nhunter2", "hunter2 x", "hunter2–", "hunter2\x00"])  # noqa: RUF001 - a dash
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    with pytest.raises(MissingSecretError) as caught:
        resolve_key(ModelSettings(model="m"), {"OPENAI_API_KEY": key})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:9/v1", "http://127.9.9.9"]
)
def test_a_model_on_this_machine_may_go_without_a_key(base_url: str) -> None:
    settings = ModelSettings(model="m", base_url=base_url, api_key_env=None)
    assert resolve_key(settings, {"OPENAI_API_KEY": "not for here"}) == "none"
    assert settings.is_loopback


def test_the_address_is_the_providers_unless_another_is_given() -> None:
    assert ModelSettings(model="m").address == "https://api.openai.com/v1"
    assert ModelSettings(model="m", provider="openrouter").host == "openrouter.ai"
    assert ModelSettings(model="m", base_url="https://h/v1/").address == "https://h/v1"
    assert not ModelSettings(model="m").is_loopback


def test_a_price_is_exact_and_an_unknown_part_makes_the_cost_unknown() -> None:
    price = Price.model_validate({"input": 0.15, "output": 0.60})
    assert cost_usd(price, 1_000_000, 1_000_000) == Decimal("0.75")
    assert cost_usd(price, 1, 0) == Decimal("0.00000015")
    assert cost_usd(None, 1, 1) is None
    assert cost_usd(price, None, 1) is None
    assert cost_usd(price, 1, None) is None


def test_settings_cannot_be_changed() -> None:
    settings = ModelSettings(model="m")
    with pytest.raises(ValidationError):
        settings.model = "other"  # type: ignore[misc]
