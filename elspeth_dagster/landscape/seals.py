"""Seal an execution when it ends: a Merkle root over its evidence, chained to the run's seal before it.

The leaves are record hashes, in the order of `SEALED_TABLES` and of the keys' bytes within each: the run, its nodes and
edges; every record whose `execution_id` is the execution, or one before it that ended without a seal of its own; their
own records last. Sealing reads before it writes: all of an execution's evidence but its own record is durable and
final by then, so only the link to the chain needs the run's lock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from elspeth_dagster.errors import AuditConflictError
from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.evidence import OF_AN_EXECUTION, OF_THE_GRAPH, Scope, hashes_of
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.merkle import MerkleTree
from elspeth_dagster.landscape.patience import patient
from elspeth_dagster.landscape.records import Record, Unit, sealed
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.canonical import canonical_bytes
from elspeth_dagster.model.row import JSON

SEALED_TABLES: Final[tuple[Table, ...]] = (*OF_THE_GRAPH, *OF_AN_EXECUTION, schema.node_executions)
"""The order of the leaves."""

READ_AGAIN_MAX: Final = 50_000
"""Records that are read again right after they were sealed: a tenth of a second. `verify` reads them all."""


@dataclass(frozen=True, slots=True)
class Seal:
    """An execution's place in its run's chain of seals, which begins at 1."""

    execution_id: str
    sequence: int
    seal_hash: bytes


@dataclass(frozen=True, slots=True)
class Sum:
    """What a seal is over: the root, and how many records of each table are below it."""

    merkle_root: bytes
    counts: dict[str, int]


def end_sealed(
    database: Database, writer: LandscapeWriter, handle: ExecutionHandle, *, end: Record, now: str
) -> Seal:
    """Store the end of an execution and its seal, in one transaction. ``end`` is the execution's closed record.

    Raises:
        LandscapeError: it could not be written; then the execution is still open.
    """
    writer.write(handle, Unit())  # everything that was submitted before is durable once this is
    covered = uncovered_executions(database, handle)
    scope = Scope(handle.run_id, handle.node_id, (*covered, handle.execution_id))
    # An earlier execution is another process's: what it wrote, only the tables know.
    tables = schema.metadata.tables.keys() if covered else handle.tables
    sum_ = sum_of(database, scope, tables=tables, end=end)
    links: list[Seal] = []
    unit = Unit()
    unit.close("node_executions", end)
    unit.derive(lambda connection: links.append(_link(connection, scope, sum_, now=now)))
    writer.write(handle, unit)
    return links[-1]


@patient
def sum_of(
    database: Database, scope: Scope, *, tables: Collection[str] | None = None, end: Record | None = None
) -> Sum:
    """The root over the evidence of ``scope``, whose last execution is the sealed one.

    ``tables``: those in which it has records, if known. ``end``: the sealed execution's own record, while the
    database has it open.
    """
    tree, counts = MerkleTree(), dict[str, int]()
    with database.read() as connection:
        for table in (*OF_THE_GRAPH, *OF_AN_EXECUTION):
            if tables is None or table in OF_THE_GRAPH or table.name in tables:
                _grow(tree, counts, table, hashes_of(connection, table, scope))
        own = _own_hashes(connection, scope)
    if end is not None:
        own[str(end[0])] = end[-1]
    in_order = sorted(own.items(), key=lambda item: item[0].encode())
    closed = (digest for _, digest in in_order if isinstance(digest, bytes))
    _grow(tree, counts, schema.node_executions, closed)
    return Sum(tree.root(), counts)


def _grow(tree: MerkleTree, counts: dict[str, int], table: Table, hashes: Iterable[bytes]) -> None:
    before = tree.size
    tree.extend(hashes)
    if tree.size > before:
        counts[table.name] = tree.size - before


def _own_hashes(connection: Connection, scope: Scope) -> dict[str, object]:
    table = schema.node_executions
    question = sa.select(table.c.execution_id, table.c.record_hash).where(
        table.c.execution_id.in_(scope.execution_ids)
    )
    return {found[0]: found[1] for found in connection.execute(question)}


@patient
def uncovered_executions(database: Database, handle: ExecutionHandle) -> tuple[str, ...]:
    """Earlier executions of the handle's node, in order, that no seal is over: their processes could not end them."""
    executions, seals = schema.node_executions, schema.seals
    of_node = (executions.c.run_id == handle.run_id, executions.c.node_id == handle.node_id)
    if handle.attempt == 1:
        return ()
    with database.read() as connection:
        before = connection.execute(
            sa.select(executions.c.execution_id)
            .where(*of_node, executions.c.attempt < handle.attempt)
            .order_by(executions.c.attempt)
        ).scalars()
        found = list(before)
        of_found = sa.select(seals.c.execution_id, seals.c.covers_json).where(seals.c.execution_id.in_(found))
        covered = set[str]()
        for execution_id, covers_json in connection.execute(of_found):
            covered.update([execution_id, *json.loads(covers_json)])
    return tuple(execution_id for execution_id in found if execution_id not in covered)


def _link(connection: Connection, scope: Scope, of: Sum, *, now: str) -> Seal:
    """Insert the seal behind the run's last one, under the run's lock."""
    table, runs = schema.seals, schema.runs
    lock = sa.select(runs.c.run_id).where(runs.c.run_id == scope.run_id).with_for_update(key_share=True)
    connection.execute(lock).one()
    *covered, execution_id = scope.execution_ids
    known = connection.execute(sa.select(table).where(table.c.execution_id == execution_id)).first()
    if known is not None:  # the commit was done, only its answer was lost
        if known.merkle_root != of.merkle_root:
            raise AuditConflictError(
                f"Execution {execution_id} has another seal already.",
                where="table seals",
                hint="run `elspeth-dagster verify`",
            )
        return Seal(execution_id, known.sequence, known.seal_hash)
    last = connection.execute(
        sa.select(table.c.sequence, table.c.seal_hash)
        .where(table.c.run_id == scope.run_id)
        .order_by(table.c.sequence.desc())
        .limit(1)
    ).first()
    sequence, previous = (1, None) if last is None else (last.sequence + 1, last.seal_hash)
    record = sealed(
        "seals", scope.run_id, sequence, execution_id, previous, of.merkle_root, _json(of.counts), _json(covered), now
    )  # fmt: skip
    connection.execute(sa.insert(table).values(dict(zip(table.columns.keys(), record, strict=True))))
    return Seal(execution_id, sequence, bytes(record[-1]))  # type: ignore[arg-type]


def _json(value: Mapping[str, int] | Sequence[str]) -> str:
    plain: JSON = dict(value) if isinstance(value, Mapping) else list(value)
    return canonical_bytes(plain).decode()


@patient
def seal_holds(
    database: Database, seal: Seal, *, run_id: str, node_id: str, records_max: int = READ_AGAIN_MAX
) -> bool | None:
    """Whether the evidence under a seal is what was sealed: its root is made again and compared.

    None: the seal is there, over more than ``records_max`` records, which were not read again.
    """
    table = schema.seals
    question = sa.select(
        table.c.merkle_root, table.c.covers_json, table.c.counts_json, table.c.seal_hash
    ).where(table.c.run_id == run_id, table.c.sequence == seal.sequence)
    with database.read() as connection:
        found = connection.execute(question).first()
    if found is None or found.seal_hash != seal.seal_hash:
        return False
    if sum(json.loads(found.counts_json).values()) > records_max:
        return None
    scope = Scope(run_id, node_id, (*json.loads(found.covers_json), seal.execution_id))
    return sum_of(database, scope).merkle_root == bytes(found.merkle_root)
