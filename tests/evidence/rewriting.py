"""Tampering by somebody with patience: every hash and every seal is made to fit what was changed."""

from __future__ import annotations

import json

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.evidence import Scope
from elspeth_dagster.landscape.records import sealed
from elspeth_dagster.landscape.seals import sum_of
from elspeth_dagster.model.canonical import canonical_bytes, record_hash
from tests.evidence.conftest import Copy
from tests.evidence.honest import RUN_ID


def rehash(copy: Copy) -> None:
    """Give every closed record the hash of its columns."""
    database = copy.database
    statements: list[str | tuple[str, tuple[object, ...]]] = []
    with database.read() as connection:
        for table in schema.EVIDENCE:
            if table is schema.seals:
                continue
            of_key = " AND ".join(f"{column.name} = ?" for column in table.primary_key.columns)
            for record in connection.execute(sa.select(table)):
                made = record_hash(table.name, record[:-1])
                if record[-1] is None or made == record[-1]:
                    continue
                key = tuple(getattr(record, column.name) for column in table.primary_key.columns)
                statements.append((f"UPDATE {table.name} SET record_hash = ? WHERE {of_key}", (made, *key)))  # noqa: S608
    database.dispose()
    copy.change(*statements)


def reseal(copy: Copy) -> None:
    """Rewrite every seal so that the chain fits what is in the tables now."""
    database = copy.database
    seals, executions = schema.seals, schema.node_executions
    with database.read() as connection:
        found = connection.execute(
            sa.select(seals, executions.c.node_id)
            .join(executions, executions.c.execution_id == seals.c.execution_id)
            .order_by(seals.c.sequence)
        ).all()
    previous, names = None, seals.columns.keys()
    statements: list[str | tuple[str, tuple[object, ...]]] = []
    for seal in found:
        scope = Scope(RUN_ID, seal.node_id, (*json.loads(seal.covers_json), seal.execution_id))
        now = sum_of(database, scope)
        record = sealed(
            "seals", RUN_ID, seal.sequence, seal.execution_id, previous, now.merkle_root,
            canonical_bytes(dict(now.counts)).decode(), seal.covers_json, seal.sealed_at,
        )  # fmt: skip
        previous = record[-1]
        sets = ", ".join(f"{name} = ?" for name in names)
        statements.append((f"UPDATE seals SET {sets} WHERE sequence = ?", (*record, seal.sequence)))  # noqa: S608
    database.dispose()
    copy.change(*statements)
