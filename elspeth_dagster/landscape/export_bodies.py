"""A stored body as JSON that leads back to its exact bytes, so that whoever has an export can recompute its hash."""

from __future__ import annotations

import base64

from elspeth_dagster.errors import NotJSONError
from elspeth_dagster.model.canonical import canonical_bytes, parsed
from elspeth_dagster.model.row import JSON


def exact_body(body: bytes) -> tuple[str, JSON]:
    """``json`` and a value whose canonical form is the body; else ``text`` and it, or ``base64`` and its code."""
    try:
        value = parsed(body)
        if canonical_bytes(value) == body:
            return "json", value
    except (ValueError, RecursionError, NotJSONError):
        pass  # it is no JSON, or none that we would have written
    try:
        return "text", body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()


def body_bytes(encoding: str, body: JSON) -> bytes:
    """The bytes that `exact_body` was given."""
    if encoding == "json":
        return canonical_bytes(body)
    assert isinstance(body, str)  # noqa: S101 - as `exact_body` made it
    return body.encode() if encoding == "text" else base64.b64decode(body)
