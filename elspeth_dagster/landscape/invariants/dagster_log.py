"""The Landscape and Dagster's event log witness each other: neither can be rewritten alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.invariants.chain import StoredSeal, stored_seals
from elspeth_dagster.landscape.invariants.finding import Examined, Finding
from elspeth_dagster.landscape.runs import attempts_of
from elspeth_dagster.landscape.witness import Witness
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus

_GOOD: Final = frozenset({RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES})
_BAD: Final = frozenset({RunStatus.FAILED, RunStatus.INTERRUPTED})


def seals_in_dagsters_log(examined: Examined) -> Iterator[Finding]:
    """Every seal that Dagster was told of is in the chain, and every step that it saw succeed has told its seal."""
    witness = examined.witness
    if witness is None:
        return
    seals = stored_seals(examined)
    known = {seal.seal_hash.hex(): seal for seal in seals}
    executions = _executions(examined)
    told = set[str]()
    for said in witness.seals:
        told.add(said.seal_hash)
        seal = known.get(said.seal_hash)
        if seal is None or executions.get(seal.execution_id, ("", "", ""))[0] != said.node_id:
            what = (
                f"Dagster's log has the seal {said.seal_hash[:16]}... of node {said.node_id!r}, which the "
                "Landscape does not have: records were removed or rewritten since."
            )
            key = f"{examined.run.run_id}, {said.node_id}"
            yield Finding("dagster_log", "seals", key, what)
    yield from _untold(examined, witness, _behind_the_last(seals, told), executions)


def _behind_the_last(seals: Sequence[StoredSeal], told: set[str]) -> Sequence[StoredSeal]:
    """The seals behind the last one that Dagster knows: those before it are under its hash."""
    last = max((place for place, seal in enumerate(seals) if seal.seal_hash.hex() in told), default=-1)
    return seals[last + 1 :]


def _untold(
    examined: Examined,
    witness: Witness,
    seals: Sequence[StoredSeal],
    executions: dict[str, tuple[str, str, str]],
) -> Iterator[Finding]:
    for seal in seals:
        node_id, dagster_run_id, status = executions.get(seal.execution_id, ("", "", ""))
        if status == ExecutionStatus.COMPLETED.value and (dagster_run_id, node_id) in witness.succeeded:
            what = "Dagster saw the step succeed, but was told another seal, or none."
            yield Finding("dagster_log", "seals", f"{examined.run.run_id}, {seal.sequence}", what)
        elif witness.ends.get(dagster_run_id) is not None:
            examined.notes.append(
                f"Dagster was not told of seal {seal.sequence}: the step's process died before it could be."
            )


def attempts_in_dagsters_log(examined: Examined) -> Iterator[Finding]:
    """The attempts are the Dagster runs that worked on the run, and ended as those did."""
    witness = examined.witness
    if witness is None:
        return
    attempts = {
        attempt.dagster_run_id: attempt for attempt in attempts_of(examined.database, examined.run.run_id)
    }
    for dagster_run_id in sorted({said.dagster_run_id for said in witness.seals} - attempts.keys()):
        what = "Dagster has this run's seals; the Landscape has no such attempt."
        yield Finding("dagster_attempts", "run_attempts", f"{examined.run.run_id}, {dagster_run_id}", what)
    for dagster_run_id, attempt in attempts.items():
        if dagster_run_id not in witness.ends:
            examined.notes.append(f"Dagster does not know run {dagster_run_id}: not compared.")
            continue
        end = witness.ends[dagster_run_id]
        if _contradict(attempt.status, end, is_one_of_several=examined.run.partition_key is not None):
            what = f"It is {attempt.status.value} here, but {'under way' if end is None else end.value} in Dagster."
            yield Finding(
                "dagster_attempts", "run_attempts", f"{examined.run.run_id}, {dagster_run_id}", what
            )


def _contradict(here: RunStatus, there: RunStatus | None, *, is_one_of_several: bool) -> bool:
    """Whether both cannot be true. One Dagster run may work on several partitions, and fail for another's sake."""
    if here in _GOOD:
        return not is_one_of_several and there is not RunStatus.COMPLETED
    return here in _BAD and there is RunStatus.COMPLETED


def _executions(examined: Examined) -> dict[str, tuple[str, str, str]]:
    """Node, Dagster run and status of the run's executions, by id."""
    table = schema.node_executions
    question = sa.select(table.c.execution_id, table.c.node_id, table.c.dagster_run_id, table.c.status).where(
        table.c.run_id == examined.run.run_id
    )
    with examined.database.read() as connection:
        return {found[0]: (found[1], found[2], found[3]) for found in connection.execute(question)}
