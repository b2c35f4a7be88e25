"""The openai SDK, set up so that one call is one request, and its failures turned into ours.

The SDK forms the address (Azure's deployment path and ``api-version`` among them) and the bytes of the body; retries,
redirects and its reading of the environment are off. It never holds the key: only the transport does, so that none of
its exceptions or logs can show it.

Imported only when a client is made: ``import openai`` takes about a second.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit

import aiohttp
import httpx2
import openai
from openai import RequestOptions

from elspeth_dagster.errors import ModelCallError, RequestRefusedError
from elspeth_dagster.llm.classify import no_answer_error, status_error
from elspeth_dagster.llm.client import RawReply
from elspeth_dagster.llm.lean_http import LeanClient
from elspeth_dagster.llm.proxy import environment_proxy
from elspeth_dagster.llm.settings import NO_KEY, ModelSettings
from elspeth_dagster.llm.transport import BODY_BYTES_MAX, ModelTransport, ResponseTooLargeError
from elspeth_dagster.model.redaction import Redactor
from elspeth_dagster.model.row import JSON

ERROR_BODY_BYTES_MAX = 64 * 1024
"""As much of an error's body as is looked at; its ``error`` object has a few hundred bytes."""

USER_AGENT = "elspeth_dagster"

_PATH = "/chat/completions"


class Connection:
    """Requests to one model, over at most ``pool_size`` connections of the running event loop."""

    def __init__(self, settings: ModelSettings, *, api_key: str, pool_size: int) -> None:
        is_tls = settings.address.startswith("https:")
        proxy = environment_proxy(settings)
        self._redactor = Redactor(_secrets(api_key, proxy))
        self._where = f"model {settings.model!r} at {settings.host}"
        self._http = LeanClient(
            ModelTransport(
                _request_headers(settings, api_key),
                redactor=self._redactor,
                pool_size=pool_size,
                timeout_s=settings.timeout_s,
                connect_timeout_s=settings.connect_timeout_s,
                ssl_context=httpx2.create_ssl_context() if is_tls else None,
                proxy=proxy,
            )
        )
        self._sdk = _sdk(settings, self._http)
        # All of them given, since the SDK copies its defaults deeply for each request.
        self._options: RequestOptions = {
            "headers": {},
            "max_retries": 0,
            "timeout": settings.timeout_s,
            "params": {},
            "security": {"bearer_auth": True},
        }

    async def send(self, body: dict[str, JSON]) -> RawReply:
        """See ``ModelClient.send``."""
        try:
            response = await self._sdk.post(_PATH, cast_to=httpx2.Response, body=body, options=self._options)
        except openai.APIStatusError as error:
            failure = self._status_error(error.response)
        except ResponseTooLargeError:
            failure = self._too_large()
        except (
            aiohttp.ClientHttpProxyError,
            aiohttp.ClientError,
            openai.APIConnectionError,
            OSError,
        ) as error:
            failure = self._no_answer(error)
        else:
            headers = dict(response.headers)
            answered = self._redactor.bytes(response.content)
            return RawReply(
                response.status_code,
                headers,
                answered,
                is_redacted=answered is not response.content,
            )
        # Raised out here, the error drags no exception of the SDK along, nor the request that such a one holds.
        raise failure

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _status_error(self, response: httpx2.Response) -> ModelCallError:
        text = response.content[:ERROR_BODY_BYTES_MAX].decode("utf-8", "replace")
        return status_error(
            response.status_code,
            text=self._redactor.text(text),
            headers=dict(response.headers),
            where=self._where,
        )

    def _no_answer(self, error: Exception) -> ModelCallError:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return status_error(error.status, text="(from the proxy)", headers={}, where=self._where)
        return no_answer_error(error, where=self._where)

    def _too_large(self) -> ModelCallError:
        return RequestRefusedError(
            f"The response is larger than {BODY_BYTES_MAX} bytes; the rest was not read.",
            error_type="response_too_large",
            where=self._where,
            hint="bound the answer with max_tokens",
        )


def _secrets(api_key: str, proxy: str | None) -> list[str]:
    """What is sent to prove who we are, and so may come back."""
    found = [] if api_key == NO_KEY else [api_key]
    parts = urlsplit(proxy or "")
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        found += [password, b64encode(f"{user}:{password}".encode()).decode()]
    return found


def _request_headers(settings: ModelSettings, api_key: str) -> dict[str, str]:
    """All headers of a request. ``identity``: completions are small, and nothing can be blown up on the way."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
    }
    if settings.provider == "azure":
        headers["api-key"] = api_key
    else:
        headers["Authorization"] = f"Bearer {api_key}"
    if settings.organization is not None:
        headers["OpenAI-Organization"] = settings.organization
    if settings.project is not None:
        headers["OpenAI-Project"] = settings.project
    return headers


def _sdk(settings: ModelSettings, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
    """The SDK's client. Everything that it would read from the environment is given, or unused."""
    if settings.provider == "azure":
        return openai.AsyncAzureOpenAI(
            azure_endpoint=settings.address,
            azure_deployment=settings.azure_deployment,
            api_version=settings.api_version,
            api_key=NO_KEY,
            timeout=settings.timeout_s,
            max_retries=0,
            http_client=http,
        )
    return openai.AsyncOpenAI(
        base_url=settings.address, api_key=NO_KEY, timeout=settings.timeout_s, max_retries=0, http_client=http
    )
