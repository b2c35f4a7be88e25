"""Content is what the evidence says: a body hashes, with its row's salt, to what was recorded about it.

Every body is read once, under the hash that it is kept by; then every hash in the evidence must have its body, unless
body and salt were purged together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape.invariants.finding import PAGE, Examined, Finding
from elspeth_dagster.landscape.invariants.graph import graph_of
from elspeth_dagster.landscape.schema import (
    batches,
    calls,
    node_states,
    payloads,
    row_salts,
    rows,
    tokens,
)
from elspeth_dagster.model.canonical import content_hash

DETAILS_AT_ONCE: Final = 400  # two parameters each in one question; SQLite's older bound is 999


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
            else:
                yield _gone(table, found, digest.name)
    for table in (node_states, calls, batches):
        yield from _details(examined, table)


def _gone(table: sa.Table, key: str, name: str) -> Finding:
    what = f"The body of its {name} is gone, though it was not purged: its salt is still there."
    return Finding("body_present", table.name, key, what)


def salts_of_the_run(examined: Examined) -> Iterator[Finding]:
    """What a run's tokens are hashed with is its own; tokens that it adopted, and their children, keep theirs."""
    if graph_of(examined).adopts:
        return
    question = (
        sa.select(tokens.c.token_id, tokens.c.salt_id)
        .join(row_salts, row_salts.c.salt_id == tokens.c.salt_id)
        .where(tokens.c.run_id == examined.run.run_id, row_salts.c.run_id != examined.run.run_id)
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for token_id, salt_id in connection.execute(question):
            what = f"Its salt {salt_id} is another run's."
            yield Finding("salt_of_run", "row_salts", token_id, what)


_REFERENCES: tuple[tuple[sa.Table, sa.Column[str], sa.Column[bytes]], ...] = (
    (rows, rows.c.row_id, rows.c.data_hash),
    (node_states, node_states.c.state_id, node_states.c.input_hash),
    (node_states, node_states.c.state_id, node_states.c.output_hash),
    (calls, calls.c.call_id, calls.c.request_hash),
    (calls, calls.c.call_id, calls.c.response_hash),
    (batches, batches.c.batch_id, batches.c.group_hash),
)


def _missing(
    examined: Examined, table: sa.Table, key: sa.Column[str], digest: sa.Column[bytes]
) -> Iterator[tuple[str, bool]]:
    joined, owner, salt_id = _salted(table)
    joined = joined.outerjoin(
        payloads, sa.and_(payloads.c.salt_id == salt_id, payloads.c.content_hash == digest)
    ).outerjoin(row_salts, row_salts.c.salt_id == salt_id)
    question = (
        sa.select(key, row_salts.c.salt.is_(None))
        .select_from(joined)
        .where(owner.c.run_id == examined.run.run_id, digest.is_not(None), payloads.c.salt_id.is_(None))
        .execution_options(yield_per=PAGE)
    )
    with examined.database.read() as connection:
        for found, salt_is_gone in connection.execute(question):
            yield str(found), bool(salt_is_gone)


def _details(examined: Examined, table: sa.Table) -> Iterator[Finding]:
    """Errors name the body of their free text by its hash, inside their JSON."""
    joined, owner, salt_id = _salted(table)
    (key,) = table.primary_key.columns
    question = (
        sa.select(key, table.c.error_json, salt_id, row_salts.c.salt.is_(None))
        .select_from(joined.outerjoin(row_salts, row_salts.c.salt_id == salt_id))
        .where(
            owner.c.run_id == examined.run.run_id,
            table.c.error_json.contains('"detail_hash":"', autoescape=True),
        )
        .execution_options(yield_per=DETAILS_AT_ONCE)
    )
    with examined.database.read() as connection, examined.database.read() as second:
        for page in connection.execute(question).partitions():
            wanted = [
                (str(name), bytes.fromhex(json.loads(error_json)["detail_hash"]), salt, bool(salt_is_gone))
                for name, error_json, salt, salt_is_gone in page
            ]
            there = second.execute(
                sa.select(payloads.c.salt_id, payloads.c.content_hash).where(
                    payloads.c.content_hash.in_([digest for _, digest, _, _ in wanted]),
                    payloads.c.salt_id.in_([salt for _, _, salt, _ in wanted]),
                )
            ).all()
            known = {(salt, bytes(digest)) for salt, digest in there}
            for name, digest, salt, salt_is_gone in wanted:
                if (salt, digest) in known:
                    continue
                if salt_is_gone:
                    examined.counts["purged"] += 1
                else:
                    yield _gone(table, name, "error")


def _salted(table: sa.Table) -> tuple[sa.FromClause, sa.Table, sa.Column[str]]:
    """The table joined to where its salt is named; the table that names the run; the salt's id."""
    if table is batches:
        return table, table, batches.c.salt_id
    if table is rows:
        return table.join(tokens, tokens.c.token_id == rows.c.row_id), rows, tokens.c.salt_id
    joined: sa.FromClause = table
    if table is calls:
        joined = joined.join(node_states, node_states.c.state_id == calls.c.state_id)
    return joined.join(tokens, tokens.c.token_id == node_states.c.token_id), node_states, tokens.c.salt_id
