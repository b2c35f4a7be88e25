"""The fake model itself: a request goes in, its fate comes out. No sockets, no waiting: ``connection`` does those.

In order: the route, the eternal status, the key, the limits, the request's own mistakes, the fault, the answer.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from statistics import NormalDist
from urllib.parse import unquote

from elspeth_dagster.errors import LaunchError
from elspeth_dagster.testing.chat import parse_chat
from elspeth_dagster.testing.completion import completion_body
from elspeth_dagster.testing.draws import key_of, uniform
from elspeth_dagster.testing.faults import USABLE, Fault, FaultPlan
from elspeth_dagster.testing.limits import HINT_S, Limits
from elspeth_dagster.testing.reply import Manner, Reply
from elspeth_dagster.testing.request import Request
from elspeth_dagster.testing.response import HTML_TYPE, RequestError, error_body, response
from elspeth_dagster.testing.settings import FakeModelSettings, overridden
from elspeth_dagster.testing.stats import Tally

_CHAT_PATHS = frozenset({"/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions"})
_AZURE_HEAD = "/openai/deployments/"
_AZURE_TAIL = "/chat/completions"

_FAULT_STATUS = {
    Fault.HTTP_400: 400,
    Fault.HTTP_401: 401,
    Fault.HTTP_429: 429,
    Fault.HTTP_500: 500,
    Fault.HTTP_502: 502,
    Fault.HTTP_503: 503,
    Fault.HTTP_529: 529,
}
_HINTED = frozenset({429, 503, 529})
"""Statuses that may say when to come back."""

_MANNERS = {Fault.RESET: Manner.RESET, Fault.HANG: Manner.HANG, Fault.SLOW_BODY: Manner.SLOW}
_STANDARD_NORMAL = NormalDist()
_HTML = b"<html><body><h1>Something between you and the model answered instead</h1></body></html>"


class FakeModel:
    """One model behind one endpoint. Owned by the server's loop: not for several threads."""

    def __init__(
        self, settings: FakeModelSettings, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        self.tally = Tally(monotonic_s())
        self.apply(settings)

    def apply(self, settings: FakeModelSettings) -> None:
        """Change the weather; counts go on."""
        self.settings = settings
        self._seed = key_of(str(settings.seed).encode())
        self._limits = Limits(settings)
        self._plan = FaultPlan(settings.faults, rules=settings.rules)

    def reset(self) -> None:
        """As freshly started: counts, bucket, script, rules, and which requests were seen."""
        self.tally.reset(self._monotonic_s())
        self._limits.reset()
        self._plan.reset()

    def script(self, fates: Iterable[Fault | None]) -> None:
        """What the next requests that get past the limits meet; None is a clean answer."""
        self._plan.script(fates)

    def reply(self, request: Request) -> Reply:
        """Decide what becomes of ``request``."""
        own = self._own_page(request)
        if own is not None:
            return own
        self.tally.arrived(self._monotonic_s())
        drop_after = self.settings.drop_after
        if drop_after is not None and self.tally.requests > drop_after:
            return Reply(0, b"", Manner.LEAVE)
        try:
            return self._chat(request)
        except RequestError as problem:
            return self._refusal(problem, close=False)

    def malformed(self, problem: RequestError) -> Reply:
        """The answer to bytes that are no request; the connection closes after it."""
        self.tally.arrived(self._monotonic_s())
        return self._refusal(problem, close=True)

    def responded(self, reply: Reply) -> None:
        """Count a reply that was written."""
        if reply.counted:
            self.tally.responded(reply.status, self._monotonic_s(), answered=reply.answered)

    def _refusal(self, problem: RequestError, *, close: bool) -> Reply:
        """The answer to a wrong request."""
        body = error_body(problem.status, problem.message, param=problem.param, code=problem.code)
        headers = self._request_id() + (
            b"allow: POST\r\n" if problem.status == HTTPStatus.METHOD_NOT_ALLOWED else b""
        )
        return Reply(problem.status, response(problem.status, body, headers=headers, close=close))

    def _own_page(self, request: Request) -> Reply | None:
        """The pages about the server itself; nothing counts or limits them."""
        if request.path == "/stats" and request.method == "GET":
            content = json.dumps(self.tally.snapshot().as_json())
        elif request.path == "/health" and request.method == "GET":
            content = '{"status": "ok", "server": "fake-model"}'
        elif request.path == "/reset" and request.method == "POST":
            self.reset()
            content = '{"status": "reset"}'
        elif request.path == "/change" and request.method == "POST":
            return replace(self._changed(request.body), counted=False)
        else:
            return None
        return Reply(200, response(200, content.encode()), counted=False)

    def _changed(self, body: bytes) -> Reply:
        """Apply the settings in ``body``, a JSON object of field and value."""
        try:
            self.apply(overridden(self.settings, dict(json.loads(body))))
        except (LaunchError, ValueError, TypeError) as problem:
            return self._refusal(RequestError(400, str(problem)), close=False)
        return Reply(200, response(200, b'{"status": "changed"}'))

    def _chat(self, request: Request) -> Reply:
        deployment = _route(request)
        if self.settings.always is not None:
            return self._status(self.settings.always, HINT_S, "This model never answers.")
        self._check_key(request)
        wait_s = self._limits.admit(self._monotonic_s(), in_flight=self.tally.in_flight)
        if wait_s:
            return self._status(429, wait_s, "Rate limit reached for requests.")
        chat = parse_chat(request.body, deployment=deployment)
        models = self.settings.models
        if models is not None and chat.model not in models:
            message = f"The model '{chat.model}' does not exist or you do not have access to it."
            raise RequestError(404, message, param="model", code="model_not_found")
        body_key = key_of(request.body)
        fate_key = key_of(self._seed, body_key, str(self.tally.admitted(body_key)).encode())
        fault = self._plan.pick(fate_key, last_user=chat.last_user)
        if fault is not None:
            self.tally.faulted(fault.value)
        delay_s = self._latency_s(fate_key)
        if fault in _FAULT_STATUS:
            failure = self._status(_FAULT_STATUS[fault], HINT_S, "Injected by the fake model.")
            return replace(failure, delay_s=delay_s, admitted=True)
        payload = self._payload(fault, completion_body(chat, seed=self._seed, fault=fault))
        manner = _MANNERS.get(fault, Manner.WHOLE) if fault is not None else Manner.WHOLE
        answered = body_key if fault is None or fault in USABLE else None
        return Reply(200, payload, manner, delay_s=delay_s, admitted=True, answered=answered)

    def _payload(self, fault: Fault | None, body: bytes) -> bytes:
        headers = self._limits.announcement() + self._request_id()
        if fault is Fault.NOT_JSON:
            return response(200, _HTML, headers=headers, content_type=HTML_TYPE)
        if fault is Fault.TRUNCATED_JSON:
            body = body[: len(body) // 2]
        elif fault is Fault.EMPTY_BODY:
            body = b""
        return response(200, body, headers=headers)

    def _status(self, status: int, wait_s: float, message: str) -> Reply:
        headers = self._limits.announcement() + self._request_id()
        if status in _HINTED:
            headers += self._limits.retry_after(wait_s)
        code = "rate_limit_exceeded" if status == HTTPStatus.TOO_MANY_REQUESTS else None
        payload = response(status, error_body(status, message, code=code), headers=headers)
        return Reply(status, payload)

    def _check_key(self, request: Request) -> None:
        wanted = self.settings.api_key
        if wanted is None:
            return
        given = request.header(b"api-key")
        if given is None:
            scheme, _, given = (request.header(b"authorization") or "").partition(" ")
            given = given.strip() if scheme.lower() == "bearer" else None
        if given != wanted:
            raise RequestError(401, "Incorrect API key provided.", code="invalid_api_key")

    def _latency_s(self, key: bytes) -> float:
        median_s = self.settings.latency_ms / 1000
        spread = self.settings.latency_spread
        if not median_s or not spread:
            return median_s
        point = uniform(key, "latency") or math.ulp(0.5)
        return median_s * math.exp(spread * _STANDARD_NORMAL.inv_cdf(point))

    def _request_id(self) -> bytes:
        return b"x-request-id: req_%08x\r\n" % self.tally.requests


def _route(request: Request) -> str | None:
    """The deployment in Azure's path, None for the paths without one.

    Raises:
        RequestError: nothing is there, or not for this method.
    """
    path = request.path
    deployment = None
    if path not in _CHAT_PATHS:
        if not (path.startswith(_AZURE_HEAD) and path.endswith(_AZURE_TAIL)):
            raise RequestError(404, f"Invalid URL ({request.method} {path})", code="unknown_url")
        deployment = unquote(path[len(_AZURE_HEAD) : -len(_AZURE_TAIL)])
        if not deployment or "/" in deployment:
            raise RequestError(404, f"Invalid URL ({request.method} {path})", code="unknown_url")
    if request.method != "POST":
        raise RequestError(405, f"Only POST is allowed here, not {request.method}.")
    return deployment
