"""The seals hold: each is over the evidence that its execution left, and behind the seal before it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.evidence import OF_AN_EXECUTION, OF_THE_GRAPH, Scope
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.seals import sum_of
from elspeth_dagster.model.outcome import ExecutionStatus

_ENDED_BY_ITSELF: Final = frozenset(
    {ExecutionStatus.COMPLETED.value, ExecutionStatus.FAILED.value, ExecutionStatus.INTERRUPTED.value}
)
"""How an execution's own process ends it, in the transaction that seals it."""


_UNDER_EVERY_SEAL: Final = frozenset(table.name for table in OF_THE_GRAPH)


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal as it is in the database; ``covers`` are the executions before it that it is over as well."""

    sequence: int
    execution_id: str
    previous_seal_hash: bytes | None
    merkle_root: bytes
    counts: dict[str, int]
    covers: tuple[str, ...]
    seal_hash: bytes

    @property
    def executions(self) -> tuple[str, ...]:
        """Every execution that the seal is over."""
        return (*self.covers, self.execution_id)


def seal_chain(examined: Examined) -> Iterator[Finding]:
    """Seals are numbered from 1 without gap, and each names the hash of the one before it."""
    previous: bytes | None = None
    for place, seal in enumerate(stored_seals(examined), start=1):
        key = f"{examined.run.run_id}, {seal.sequence}"
        if seal.sequence != place:
            yield Finding(
                "seal_chain", "seals", key, f"Seal {place} is missing: the next one is {seal.sequence}."
            )
            return
        if seal.previous_seal_hash != previous:
            what = (
                "It is not chained to the seal before it: that one was replaced, or its number is another's."
            )
            yield Finding("seal_chain", "seals", key, what)
        previous = seal.seal_hash


def sealed_once(examined: Examined) -> Iterator[Finding]:
    """Every execution that ended is under exactly one seal, its own or its successor's."""
    sealed = Counter[str]()
    for seal in stored_seals(examined):
        sealed.update(seal.executions)
    for execution_id, (_, status) in _executions(examined).items():
        count = sealed.pop(execution_id, 0)
        is_due = status in _ENDED_BY_ITSELF or (
            examined.is_finished and status == ExecutionStatus.SUPERSEDED.value
        )
        if count > 1 or (is_due and not count):
            what = f"The execution is {status}, and under {count} seals; it must be under one."
            yield Finding("sealed_once", "seals", f"{examined.run.run_id}, {execution_id}", what)
    for execution_id in sealed:
        yield Finding("sealed_once", "node_executions", execution_id, "It was sealed, but is not there.")


def seal_roots(examined: Examined) -> Iterator[Finding]:
    """The evidence of each sealed execution has the root, and the number of records, that was sealed."""
    executions = _executions(examined)
    broken, checked = [], 0
    for seal in stored_seals(examined):
        if seal.execution_id not in executions:
            continue  # another check says so
        checked += 1
        node_id, _ = executions[seal.execution_id]
        scope = Scope(examined.run.run_id, node_id, seal.executions)
        now = sum_of(examined.database, scope)
        examined.counts["seals"] += 1
        yield from _differing_counts(examined, seal, now.counts)
        if now.counts == seal.counts and now.merkle_root != seal.merkle_root:
            broken.append(seal)
    yield from _replaced(examined, broken, is_every_seal=len(broken) == checked > 1)
    yield from _strangers(examined, executions)


def _replaced(examined: Examined, broken: Sequence[StoredSeal], *, is_every_seal: bool) -> Iterator[Finding]:
    """Records that were replaced together with their hash. A root tells that one was, not which; but where it is."""
    if is_every_seal:
        what = (
            f"None of the {len(broken)} seals fits, and these records are under all of them: one of runs, nodes or "
            "edges was replaced by another, together with its hash."
        )
        yield Finding("seal_root", "runs", examined.run.run_id, what)
        return
    for seal in broken:
        tables = ", ".join(
            f"{name} {count:,}" for name, count in seal.counts.items() if name not in _UNDER_EVERY_SEAL
        )
        what = (
            f"Seal {seal.sequence} does not fit its {sum(seal.counts.values()):,} records ({tables}): "
            "one of them was replaced by another, together with its hash."
        )
        yield Finding("seal_root", "node_executions", seal.execution_id, what)


def _differing_counts(examined: Examined, seal: StoredSeal, now: dict[str, int]) -> Iterator[Finding]:
    for name in sorted(seal.counts.keys() | now.keys()):
        was, found = seal.counts.get(name, 0), now.get(name, 0)
        if was != found:
            what = f"Seal {seal.sequence} of {seal.execution_id} is over {was:,} of its records; {found:,} are there."
            yield Finding("seal_root", name, seal.execution_id, what)
    for table in OF_AN_EXECUTION:
        # Counted apart, since a record that names another node than its execution's hides from the sum.
        counted = sum(examined.of_executions[table.name, one] for one in seal.executions)
        if counted != now.get(table.name, 0):
            strange = counted - now.get(table.name, 0)
            what = f"{strange:,} records say that they are of {seal.execution_id}, and are not."
            yield Finding("seal_root", table.name, seal.execution_id, what)


def _strangers(examined: Examined, executions: dict[str, tuple[str, str]]) -> Iterator[Finding]:
    for (table, execution_id), count in sorted(examined.of_executions.items()):
        if execution_id not in executions and table != "seals":
            what = f"{count:,} records are of execution {execution_id}, which this run does not have."
            yield Finding("seal_root", table, str(execution_id), what)


def stored_seals(examined: Examined) -> Sequence[StoredSeal]:
    """The seals of the run, in order; as many as nodes and attempts, never as rows."""
    table = schema.seals
    question = sa.select(table).where(table.c.run_id == examined.run.run_id).order_by(table.c.sequence)
    with examined.database.read() as connection:
        return [
            StoredSeal(
                sequence=found.sequence,
                execution_id=found.execution_id,
                previous_seal_hash=found.previous_seal_hash,
                merkle_root=found.merkle_root,
                counts=_counts(found.counts_json),
                covers=_covers(found.covers_json),
                seal_hash=found.seal_hash,
            )
            for found in connection.execute(question)
        ]


def _counts(text: str) -> dict[str, int]:
    """What was counted; nothing where the text is no such object, which then differs from what is there."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _covers(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _executions(examined: Examined) -> dict[str, tuple[str, str]]:
    """The run's executions: their node and status, by id."""
    table = schema.node_executions
    question = sa.select(table.c.execution_id, table.c.node_id, table.c.status).where(
        table.c.run_id == examined.run.run_id
    )
    with examined.database.read() as connection:
        return {
            execution_id: (node_id, status) for execution_id, node_id, status in connection.execute(question)
        }
