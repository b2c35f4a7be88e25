"""What a failed request means: slow down, try again, give the row up, or stop the node.

Decided by the status code, by the type of the exception, and in two places by a field of the error object that has a
fixed set of values; never by words in a message. Where a status can come from no property of the row (a wrong key, a
wrong address, an empty account), the node stops: stopped work waits for a resume, a row's failure is final.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from elspeth_dagster.errors import (
    CapacityError,
    ModelCallError,
    ModelUnusableError,
    RequestRefusedError,
    TransientError,
)
from elspeth_dagster.model.row import JSON

CAPACITY_STATUSES = frozenset({429, 503, 529})

TRANSIENT_STATUSES = frozenset({408, 409})
"""Beside these, every status from 500 up that is not one of capacity."""

UNUSABLE_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 410})
"""Key, credit, permission, address, proxy. All requests of a node go to one address and name one model, so that even
a 404 without a code says nothing about the row."""

NO_CREDIT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""What OpenAI calls an account without credit, under the status of "too many requests": waiting does not help."""

UNKNOWN_MODEL_CODES = frozenset({"model_not_found", "DeploymentNotFound"})

TEXT_CHARS_MAX = 2_000
"""As much of the provider's words as an error carries."""

CAUSES_MAX = 20
"""A chain of causes is three or four long; the bound only guards against a circle."""

_FIRST_SERVER_ERROR = 500
_FIRST_CLIENT_ERROR = 400
_FORBIDDEN = 403

_HINTS: Mapping[int, str] = {
    401: "the provider does not know the key: check the variable that api_key_env names",
    402: "the account has no credit left: add some, then resume the run",
    403: "the key may not use this model: check its project, region and permissions",
    404: "check model, deployment and base_url",
    405: "check base_url",
    407: "check the user and password of the proxy",
    410: "the provider no longer offers this model or address",
}


def status_error(
    status: int, *, text: str, headers: Mapping[str, str], where: str | None = None
) -> ModelCallError:
    """Return the error for a response of ``status``, whose body is ``text`` (already without secrets)."""
    kind = _kind_of_status(status, text)
    hint_status = 402 if kind is ModelUnusableError and status in CAPACITY_STATUSES else status
    words = " ".join(text[: TEXT_CHARS_MAX * 2].split())[:TEXT_CHARS_MAX]
    hint = None
    if kind is ModelUnusableError:
        hint = _HINTS.get(
            hint_status, "check model, deployment and base_url: no request of this node can succeed"
        )
    return kind(
        f"The model answered with HTTP {status}: {words}"
        if words
        else f"The model answered with HTTP {status}.",
        status_code=status,
        headers=headers,
        where=where,
        hint=hint,
    )


def no_answer_error(error: BaseException, *, where: str | None = None) -> TransientError:
    """Return the error for a request that got no response: refused, reset, timed out, cut or garbled.

    ``error_type`` names the innermost cause, which tells them apart where the outer exceptions do not.
    """
    cause = innermost_cause(error)
    name = type(cause).__name__
    # Only the system's own words: a client library's may hold an address with a password in it.
    words = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
    return TransientError(f"The model gave no answer: {name}{words}.", error_type=name, where=where)


def innermost_cause(error: BaseException) -> BaseException:
    """Follow ``__cause__`` to its end; a cancellation, by which time-outs are made, is not followed."""
    for _ in range(CAUSES_MAX):
        cause = error.__cause__
        if not isinstance(cause, Exception):
            break
        error = cause
    return error


def _kind_of_status(status: int, text: str) -> type[ModelCallError]:
    if status in CAPACITY_STATUSES:
        has_no_credit = _error_object(text).get("code") in NO_CREDIT_CODES
        return ModelUnusableError if has_no_credit else CapacityError
    if status in TRANSIENT_STATUSES or status >= _FIRST_SERVER_ERROR:
        return TransientError
    if status < _FIRST_CLIENT_ERROR:  # a redirect: never followed, a paid request goes where it was sent
        return ModelUnusableError
    error = _error_object(text)
    if status == _FORBIDDEN and _is_moderation(error):
        return RequestRefusedError
    if status in UNUSABLE_STATUSES or error.get("code") in UNKNOWN_MODEL_CODES:
        return ModelUnusableError
    return RequestRefusedError


def _is_moderation(error: Mapping[str, JSON]) -> bool:
    """OpenRouter answers 403 for a prompt that moderation flagged, and says so in a field: the row's fault."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and "flagged_input" in metadata


def _error_object(text: str) -> Mapping[str, JSON]:
    try:
        body: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return {}
    # A code of another type (OpenRouter's is a number, others send a list) is no name of ours.
    return error if isinstance(error.get("code"), str) else {**error, "code": None}
