"""Content is what the evidence says: a body hashes, with its row's salt, to what was recorded about it.

Every body is read once, under the hash that it is kept by; then every hash in the evidence must have its body, unless
body and salt were purged together.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.schema import calls, node_states, payloads, row_salts, rows, tokens
from elspeth_dagster.model.canonical import content_hash


def body_hashes(examined: Examined) -> Iterator[Finding]:
    """Recompute the hash of every body of the run."""
    question = (
        sa.select(payloads.c.salt_id, payloads.c.content_hash, payloads.c.body, row_salts.c.salt)
        .join(row_salts, row_salts.c.salt_id == payloads.c.salt_id)
        .where(row_salts.c.run_id == examined.run.run_id)
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for salt_id, kept, body, salt in connection.execute(question):
            examined.counts["bodies"] += 1
            if content_hash(salt, body) != kept:
                what = "The body is not what was hashed when it was recorded."
                yield Finding("body_hash", "payloads", f"{salt_id}, {kept.hex()}", what)


def bodies_present(examined: Examined) -> Iterator[Finding]:
    """Every hash in the evidence has its body, or was purged with its salt."""
    for table, key, digest in _REFERENCES:
        for found, salt_is_gone in _missing(examined, table, key, digest):
            if salt_is_gone:
                examined.counts["purged"] += 1
                continue
            what = (
                f"The body of its {digest.name} is gone, though it was not purged: its salt is still there."
            )
            yield Finding("body_present", table.name, found, what)


_REFERENCES: tuple[tuple[sa.Table, sa.Column[str], sa.Column[bytes]], ...] = (
    (rows, rows.c.row_id, rows.c.data_hash),
    (node_states, node_states.c.state_id, node_states.c.input_hash),
    (node_states, node_states.c.state_id, node_states.c.output_hash),
    (calls, calls.c.call_id, calls.c.request_hash),
    (calls, calls.c.call_id, calls.c.response_hash),
)


def _missing(
    examined: Examined, table: sa.Table, key: sa.Column[str], digest: sa.Column[bytes]
) -> Iterator[tuple[str, bool]]:
    joined: sa.FromClause = table
    if table is calls:
        joined = joined.join(node_states, node_states.c.state_id == calls.c.state_id)
    owner = rows.c.row_id if table is rows else node_states.c.token_id
    run_id = rows.c.run_id if table is rows else node_states.c.run_id
    joined = (
        joined.join(tokens, tokens.c.token_id == owner)
        .outerjoin(
            payloads, sa.and_(payloads.c.salt_id == tokens.c.salt_id, payloads.c.content_hash == digest)
        )
        .outerjoin(row_salts, row_salts.c.salt_id == tokens.c.salt_id)
    )
    question = (
        sa.select(key, row_salts.c.salt.is_(None))
        .select_from(joined)
        .where(run_id == examined.run.run_id, digest.is_not(None), payloads.c.salt_id.is_(None))
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for found, salt_is_gone in connection.execute(question):
            yield str(found), bool(salt_is_gone)
