"""Bodies by their hashes, as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy.engine import Connection

from elspeth_dagster.landscape.queries import payload_body
from elspeth_dagster.landscape.story import Body, Change, Failure
from elspeth_dagster.model.row import JSON, Row


def body_of(connection: Connection, salt_id: str, content_hash: bytes) -> Body:
    """The body of a hash, parsed where it is JSON, as text where it is not."""
    found = payload_body(connection, salt_id, content_hash)
    return Body(content_hash.hex(), None if found is None else parsed_body(found), found is None)


def parsed_body(body: bytes) -> JSON:
    """A body as JSON where it is that, as text where it is not."""
    try:
        value: JSON = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", errors="backslashreplace")
    return value


def in_order(body: Body, columns: Sequence[str]) -> Body:
    """A row with its fields in the declared order, others behind: canonical JSON has sorted them."""
    row = body.value
    if not isinstance(row, dict):
        return body
    names = [name for name in columns if name in row]
    ordered: Row = {name: row[name] for name in (*names, *(name for name in row if name not in columns))}
    return Body(body.content_hash, ordered, body.is_purged)


def failure_of(connection: Connection, salt_id: str, error_json: str | None) -> Failure | None:
    """An error's evidence, with its message and detail where they were kept and not purged."""
    if error_json is None:
        return None
    facts: dict[str, JSON] = json.loads(error_json)
    code = str(facts.pop("code", "unknown"))
    detail_hash = facts.pop("detail_hash", None)
    if not isinstance(detail_hash, str):
        return Failure(code, facts, None, {}, is_purged=False)
    kept = body_of(connection, salt_id, bytes.fromhex(detail_hash))
    detail = dict(kept.value) if isinstance(kept.value, dict) else {}
    message = detail.pop("message", None)
    return Failure(code, facts, message if isinstance(message, str) else None, detail, kept.is_purged)


def change_between(before: Body | None, after: Body | None) -> Change | None:
    """What happened to a row; None where one of the two cannot be read."""
    if (
        before is None
        or after is None
        or not isinstance(before.value, dict)
        or not isinstance(after.value, dict)
    ):
        return None
    old, new = before.value, after.value
    added: Row = {name: value for name, value in new.items() if name not in old}
    removed: Row = {name: value for name, value in old.items() if name not in new}
    changed = {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}
    return Change(added, removed, changed)


def messages_of(request: Body) -> tuple[Mapping[str, JSON], ...]:
    """The messages that a request sent."""
    messages = request.value.get("messages") if isinstance(request.value, dict) else None
    return tuple(one for one in messages if isinstance(one, dict)) if isinstance(messages, list) else ()


def answer_of(response: Body | None) -> str | None:
    """The text that the model answered, or its refusal; None where the response holds neither."""
    if response is None or not isinstance(response.value, dict):
        return None
    choices = response.value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return None
    said = message.get("content") or message.get("refusal")
    return said if isinstance(said, str) else None
