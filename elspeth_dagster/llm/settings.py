"""Which model answers, where it is reached, and which environment variable holds its key.

The settings are part of a pipeline's declaration: they are recorded and shown, so they hold the *name* of the key's
variable and never the key. What is sent to the model is ``request``'s business, how it gets there ``client``'s.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from elspeth_dagster.errors import MissingSecretError

Provider = Literal["openai", "azure", "openrouter"]

KEY_VARIABLES: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}

BASE_URLS: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}

NO_KEY = "none"
"""Sent as the key where none is needed: servers on one's own machine ignore it, the SDK insists on one."""

TIMEOUT_S_MAX = 3600.0
"""No model thinks longer than an hour; a longer wait is a hung connection."""

# Upper case only, as environment variables are written: a key pasted here by mistake is refused, not recorded.
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")

Text = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=TIMEOUT_S_MAX, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class Price(BaseModel):
    """US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    input: Money
    output: Money


class ModelSettings(BaseModel):
    """One entry of ``models:``.

    ``timeout_s`` bounds a whole request, from the wait for a connection to the answer's last byte;
    ``connect_timeout_s`` the part until the connection stands. ``deployment`` and ``api_version`` are Azure's.
    ``api_key_env: null``, written out, means a model on this machine that needs no key.
    """

    # Inputs stay out of the messages: one of them may be a key put into the wrong field.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    provider: Provider = "openai"
    model: Text
    base_url: str | None = None
    api_key_env: str | None = None
    api_version: Text | None = None
    deployment: Text | None = None
    organization: Text | None = None
    project: Text | None = None
    price: Price | None = None
    timeout_s: Seconds = 60.0
    connect_timeout_s: Seconds = 10.0

    @model_validator(mode="before")
    @classmethod
    def _name_the_usual_variable(cls, given: object) -> object:
        """A key's variable that is not mentioned is the provider's usual one; null means that there is none."""
        if isinstance(given, Mapping) and "api_key_env" not in given:
            usual = KEY_VARIABLES.get(str(given.get("provider", "openai")))
            return {**given, "api_key_env": usual}
        return given

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, base_url: str | None) -> str | None:
        if base_url is not None:
            _checked_url(base_url)
        return base_url

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE_NAME.fullmatch(name):
            raise ValueError(
                "is the name of an environment variable, like OPENAI_API_KEY (capitals, digits, '_'), never the key"
            )
        return name

    @model_validator(mode="after")
    def _check_together(self) -> ModelSettings:
        if self.provider == "azure":
            self._check_azure()
        else:
            for key in ("api_version", "deployment"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} belongs to provider 'azure', not to '{self.provider}'")
        if self.api_key_env is None and not self.is_loopback:
            raise ValueError(
                "api_key_env may be null only where base_url is this machine (127.0.0.1, localhost)"
            )
        return self

    def _check_azure(self) -> None:
        if self.base_url is None or self.api_version is None:
            raise ValueError(
                "provider 'azure' needs base_url (https://<resource>.openai.azure.com) and api_version (as 2024-10-21)"
            )
        if "/openai" in urlsplit(self.base_url).path:
            raise ValueError(
                "base_url of provider 'azure' is the bare endpoint; '/openai/deployments/...' is added to it. "
                "For an '/openai/v1' address use provider 'openai'"
            )

    @property
    def address(self) -> str:
        """The base URL that requests go to, without a slash at its end."""
        return (self.base_url or BASE_URLS[self.provider]).rstrip("/")

    @property
    def host(self) -> str:
        """The host of ``address``."""
        return urlsplit(self.address).hostname or ""

    @property
    def is_loopback(self) -> bool:
        """Whether the model runs on this machine."""
        if self.base_url is None:
            return False
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def azure_deployment(self) -> str:
        """The Azure deployment that answers: by default named like the model."""
        return self.deployment or self.model


def resolve_key(settings: ModelSettings, environ: Mapping[str, str]) -> str:
    """Return the key that ``settings`` names, or ``NO_KEY`` where none is needed.

    Raises:
        MissingSecretError: the variable is not set, is blank, or holds what no key can be. Its value is never shown.
    """
    name = settings.api_key_env
    if name is None:
        return NO_KEY
    key = environ.get(name, "").strip()
    if not key:
        raise MissingSecretError(
            f"The environment variable {name} is not set.",
            where=f"model {settings.model!r} of provider {settings.provider!r}",
            hint=f"put the key into {name}, or name another variable as api_key_env",
        )
    if not all("!" <= char <= "~" for char in key):  # visible ASCII: anything else cannot stand in a header
        raise MissingSecretError(
            f"The environment variable {name} holds characters that no key has.",
            where=f"model {settings.model!r} of provider {settings.provider!r}",
            hint=f"copy the key into {name} again, without spaces, quotes or line breaks",
        )
    return key


def _checked_url(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # refuses a port that is no number
    except ValueError:
        raise ValueError("is not a URL, as https://host/v1 is") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is a full URL that starts with https:// (or http://)")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password: a key goes into the variable that api_key_env names")
    if parts.query or parts.fragment:
        raise ValueError("ends with its path: no '?' and no '#'")
    if any(char.isspace() or not char.isprintable() for char in base_url):
        raise ValueError("holds a space or a control character")
    return parts
