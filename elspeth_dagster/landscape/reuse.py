"""Find an identical request that was answered in an earlier run, by a keyed fingerprint.

The fingerprint is an HMAC with a random key that is drawn once for a Landscape: who has a copy of the table without the
key cannot guess a request from it. Fingerprints are content; a purge erases them with the bodies.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.earlier import ANSWER_COLUMNS, IS_ITS_BODY, EarlierAnswer
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.schema import calls, node_states, payloads, request_keys, row_salts, tokens
from elspeth_dagster.model.clock import new_salts

KEY_ID: Final = "request_keys"
"""Where the key lies among the salts: of no run, so that no purge takes it."""


@patient
def fingerprint_key(database: Database) -> bytes:
    """This Landscape's key; drawn when it is asked for first."""
    with database.alone() as connection:
        known = connection.execute(sa.select(row_salts.c.salt).where(row_salts.c.salt_id == KEY_ID)).scalar()
        if known is not None:
            return bytes(known)
        drawn = b"".join(new_salts(2))
        connection.execute(sa.insert(row_salts).values(salt_id=KEY_ID, run_id="", salt=drawn))
        return drawn


def fingerprint(key: bytes, *, address: str, body: bytes) -> bytes:
    """The fingerprint of a request: where it goes, and its canonical body."""
    return hmac.digest(key, address.encode() + b"\0" + body, "sha256")


@patient
def answered_before(database: Database, keys: Sequence[bytes], *, run_id: str) -> dict[bytes, EarlierAnswer]:
    """The latest valid answer that any other run got to each of these requests, where its body was not purged."""
    statement = (
        sa.select(request_keys.c.request_key, *ANSWER_COLUMNS)
        .select_from(
            request_keys.join(calls, calls.c.call_id == request_keys.c.call_id)
            .join(node_states, node_states.c.state_id == calls.c.state_id)
            .join(tokens, tokens.c.token_id == node_states.c.token_id)
            .join(payloads, IS_ITS_BODY)
        )
        .where(
            request_keys.c.request_key.in_(keys),
            request_keys.c.run_id != run_id,
            calls.c.status == "answered",
            calls.c.error_json.is_(None),
        )
        .order_by(calls.c.answered_at)
    )
    with database.look_up() as connection:
        return {bytes(key): EarlierAnswer(*cells) for key, *cells in connection.execute(statement)}
