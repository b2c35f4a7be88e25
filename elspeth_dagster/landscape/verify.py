"""Verify a run: is its evidence what was written, does its content match, is nothing lost, doubled or out of order?

Read-only, in bounded memory, however large the run is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.invariants import (
    ancestry,
    batching,
    chain,
    closure,
    content,
    dagster_log,
    endings,
    files,
    forks,
    journeys,
    order,
    paid,
    paths,
    records,
    references,
)
from elspeth_dagster.landscape.invariants.finding import Check, Examined, Finding
from elspeth_dagster.landscape.purges import purges_of
from elspeth_dagster.landscape.runs import RunRecord
from elspeth_dagster.landscape.status import run_status
from elspeth_dagster.landscape.witness import Witness
from elspeth_dagster.model.outcome import RunStatus

FINDINGS_PER_CHECK_MAX: Final = (
    1_000  # a report is read by people; beyond it, more of the same says nothing new
)

CHECKS: Final[Mapping[str, Check]] = {
    "every record has the hash of its columns": records.record_hashes,
    "every body has the hash that was recorded": content.body_hashes,
    "every recorded hash has its body, or was purged": content.bodies_present,
    "every salt is of its run": content.salts_of_the_run,
    "every execution belongs to an attempt and a node": references.executions_of_attempts,
    "what a record names is there, and of its run": references.references_within_the_run,
    "nothing is open in a finished run": records.nothing_open,
    "a finished run came to its end at every node": closure.run_closure,
    "attempts are numbered without gap": closure.attempts_contiguous,
    "every row has its token, row indices have no gap": journeys.every_row_has_a_token,
    "every row has one root, every other token has parents": ancestry.one_root_each,
    "no token is its own ancestor": ancestry.acyclic_lineage,
    "every token ends exactly once": journeys.one_outcome_each,
    "no token went on after its end": endings.nothing_after_the_end,
    "every token was finished where it ended": endings.ended_where_it_was,
    "every end has the sink or the error that it needs": endings.required_fields,
    "every token is finished once at each node": journeys.one_visit_each,
    "what came to each node left it": journeys.balances,
    "every token's way follows the edges": paths.path_follows_edges,
    "every node got the row that was handed on to it": paths.rows_handed_on,
    "every gate's choice is recorded": endings.routing_recorded,
    "every fork went down all of its branches": forks.fork_completeness,
    "every merged token has a child, every merge a record": forks.no_dangling_branch,
    "every merge is what its policy allows": forks.merges_as_recorded,
    "batches, members and outputs are numbered without gap": batching.batch_counts,
    "every member ended as its batch did": batching.batch_members_ended,
    "every output of a batch comes of all its members": batching.batch_outputs_come_of_all,
    "every call belongs to a state of its node": paid.calls_have_their_state,
    "the calls of every row are numbered without gap": order.call_indices,
    "every call says how it ended": paid.calls_complete,
    "every row that was answered has all of its answers": paid.answered_rows_have_answers,
    "nothing was paid for twice": paid.nothing_paid_twice,
    "pools gave back every row that they took": order.pool_indices,
    "no pool was larger than it may be": order.pool_limits,
    "every sink wrote what came to it": files.sinks_reconcile,
    "every sink's file is what was written": files.sink_files,
    "the seals follow each other": chain.seal_chain,
    "every execution that ended is under one seal": chain.sealed_once,
    "what was sealed is what is there": chain.seal_roots,
    "Dagster's log has the same seals": dagster_log.seals_in_dagsters_log,
    "Dagster's runs ended as it is recorded": dagster_log.attempts_in_dagsters_log,
}
"""What is checked, in this order, in words."""

READ_EVERYTHING: Final = frozenset(
    {
        "every record has the hash of its columns",
        "every body has the hash that was recorded",
        "every recorded hash has its body, or was purged",
        "what a record names is there, and of its run",
        "what came to each node left it",
        "every token's way follows the edges",
        "every node got the row that was handed on to it",
        "every sink's file is what was written",
        "what was sealed is what is there",
    }
)
"""Checks that read and compare every record or byte: most of the time that a verification takes."""

COMPARE_WITH_DAGSTER: Final = frozenset(
    {"Dagster's log has the same seals", "Dagster's runs ended as it is recorded"}
)
"""Checks that are left out where Dagster's event log is not at hand."""

COUNTING: Final[Mapping[str, Check]] = {
    name: check for name, check in CHECKS.items() if name not in READ_EVERYTHING | COMPARE_WITH_DAGSTER
}
"""The checks that the database answers with a count: about a tenth of the time, for after every run."""

_FINISHED = frozenset({RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check and what it found; ``is_cut`` where there was more than is listed."""

    name: str
    findings: tuple[Finding, ...]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a verification. ``counts`` are what was looked at: records, bodies, files, seals, purged bodies.

    ``run`` and ``status`` are None for a run that only Dagster's log knows.
    """

    run: RunRecord | None
    status: RunStatus | None
    checks: tuple[CheckResult, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every check held."""
        return not any(check.findings for check in self.checks)


def verify_run(
    database: Database,
    run: RunRecord,
    *,
    now: dt.datetime,
    witness: Witness | None = None,
    checks: Mapping[str, Check] = CHECKS,
    at_once: int = 1,
) -> VerifyReport:
    """Verify ``run`` as it is now. What is under way is checked as far as it has come.

    ``witness`` is what Dagster's event log says. Without it, evidence that was rewritten together with every seal
    behind it is not told from what was recorded. ``at_once``: how many checks are asked side by side; those that only
    the database works on can be, as none of them looks at what another one counted.
    """
    status = _status(database, run, now=now)
    examined = Examined(database, run, is_finished=status in _FINISHED, witness=witness)
    if witness is None:
        examined.notes.append("Dagster's event log is not at hand: the seals were not compared with it.")
    if not examined.is_finished:
        shown = "of no status that can be told" if status is None else status.value
        examined.notes.append(f"The run is {shown}, not finished: what is open or waits is no finding.")
    asked = [name for name in checks if witness is not None or name not in COMPARE_WITH_DAGSTER]
    if at_once == 1:
        results = [_result(name, checks[name], examined) for name in asked]
    else:
        with ThreadPoolExecutor(at_once, thread_name_prefix="verify") as threads:
            results = list(threads.map(lambda name: _result(name, checks[name], examined), asked))
    if examined.counts["purged"]:
        examined.notes.append(
            f"{examined.counts['purged']} bodies were purged{_purge_dates(database, run)}: only their hashes are left."
        )
    return VerifyReport(
        run, status, tuple(results), dict(sorted(examined.counts.items())), tuple(examined.notes)
    )


def _purge_dates(database: Database, run: RunRecord) -> str:
    """``on 2026-05-02``; nothing where no purge is on record."""
    with database.read() as connection:
        dates = sorted({one.purged_at[:10] for one in purges_of(connection, run.run_id)})
    return f" on {', '.join(dates)}" if dates else ""


def _status(database: Database, run: RunRecord, *, now: dt.datetime) -> RunStatus | None:
    """The run's status; None where the records that tell it were changed to something that nobody writes."""
    try:
        return run_status(database, run.run_id, now=now)
    except (ValueError, LookupError):
        return None


def _result(name: str, check: Check, examined: Examined) -> CheckResult:
    findings = tuple(islice(_checked(check, examined), FINDINGS_PER_CHECK_MAX + 1))
    kept = findings[:FINDINGS_PER_CHECK_MAX]
    return CheckResult(name, kept, is_cut=len(kept) < len(findings))


def _checked(check: Check, examined: Examined) -> Iterator[Finding]:
    """What a check finds. Evidence that it cannot read was not written by us: that is a finding, never a crash."""
    try:
        yield from check(examined)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"The check could not go on: a record holds what is never written there ({error!r})."
        yield Finding("unreadable", "unknown", examined.run.run_id, what)


def removed_run(run_id: str, *, seals: int) -> VerifyReport:
    """The report on a run of which Dagster's log has ``seals`` seals, and the Landscape nothing."""
    what = (
        f"Dagster's log has {seals} seals of this run; the Landscape does not have the run: it was removed."
    )
    found = Finding("dagster_log", "runs", run_id, what)
    return VerifyReport(None, None, (CheckResult("Dagster's log has the same runs", (found,)),), {}, ())
