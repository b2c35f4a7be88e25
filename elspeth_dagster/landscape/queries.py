"""Reads of single things, named by their question."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import payloads, validation_errors
from elspeth_dagster.model.canonical import parsed
from elspeth_dagster.model.row import JSON
from elspeth_dagster.model.token import Token


@patient
def violations_of(database: Database, row_ids: Sequence[str]) -> dict[str, list[JSON]]:
    """Everything that was wrong with each of these source rows, in the order in which it was found."""
    if not row_ids:
        return {}
    table = validation_errors
    statement = (
        sa.select(table.c.row_id, table.c.field, table.c.expected, table.c.actual_type, table.c.code)
        .where(table.c.row_id.in_(row_ids))
        .order_by(table.c.row_id, sa.func.length(table.c.error_id), table.c.error_id)  # its number is its end
    )
    found: dict[str, list[JSON]] = {}
    with database.look_up() as connection:
        for row_id, field, expected, actual, code in connection.execute(statement):
            violation: dict[str, JSON] = {
                "field": field,
                "expected": expected,
                "actual": actual,
                "code": code,
            }
            found.setdefault(str(row_id), []).append(violation)
    return found


@patient
def error_details(database: Database, tokens: Sequence[Token]) -> dict[str, dict[str, JSON]]:
    """The message and detail of each of these failed tokens' errors, where they were kept and not purged."""
    wanted = {token.token_id: digest for token in tokens if (digest := _detail_hash(token)) is not None}
    salts = {token.token_id: token.salt_id for token in tokens}
    found: dict[str, dict[str, JSON]] = {}
    with database.look_up() as connection:
        for token_id, detail_hash in wanted.items():
            body = payload_body(connection, salts[token_id], detail_hash)
            if body is not None and isinstance(detail := parsed(body), dict):
                found[token_id] = detail
    return found


def payload_body(connection: sa.Connection, salt_id: str, content_hash: bytes | None) -> bytes | None:
    """The body of a hash; None if there is none, or it was purged."""
    if content_hash is None:
        return None
    statement = sa.select(payloads.c.body).where(
        payloads.c.salt_id == salt_id, payloads.c.content_hash == content_hash
    )
    body = connection.execute(statement).scalar()
    return None if body is None else bytes(body)


def _detail_hash(token: Token) -> bytes | None:
    detail = json.loads(token.error_json or "{}").get("detail_hash")
    return None if detail is None else bytes.fromhex(detail)
