"""What is taken away or rewritten as a whole: seen from what is left, or from Dagster's log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.evidence import OF_AN_EXECUTION
from elspeth_dagster.landscape.records import sealed
from elspeth_dagster.model.outcome import RunStatus
from tests.evidence.conftest import Copy
from tests.evidence.honest import RUN_ID, SECOND
from tests.evidence.rewriting import reseal

LAST = "0123abcd/bad"


def _cut_tail(copy: Copy) -> None:
    """Remove the last execution, all that it recorded, its seal and its attempt's end."""
    copy.change(
        *(
            f"DELETE FROM {table.name} WHERE execution_id = '{LAST}'"  # noqa: S608 - our own names
            for table in (*OF_AN_EXECUTION, schema.node_executions, schema.seals)
            if table.name in {"node_states", "token_outcomes", "artifacts", "node_executions", "seals"}
        )
    )


def test_swapped_records_are_reported(copy: Copy) -> None:
    with closing(sqlite3.connect(copy.path)) as connection:
        first, second = connection.execute(
            "SELECT rowid, token_id, ordinal FROM batch_members WHERE batch_id LIKE '%#0' ORDER BY ordinal"
        ).fetchall()
    copy.change("UPDATE batch_members SET token_id = 'away' || rowid WHERE batch_id LIKE '%#0'")
    for place, token, ordinal in ((first[0], second[1], 0), (second[0], first[1], 1)):
        made = sealed("batch_members", "0123abcd/pairs#0", ordinal, token, "0123abcd/pairs")
        sql = "UPDATE batch_members SET token_id = ?, record_hash = ? WHERE rowid = ?"
        copy.change((sql, (token, made[-1], place)))
    found = [finding for finding in copy.findings(with_dagster=False) if finding.check == "seal_root"]
    assert [finding.key for finding in found] == ["0123abcd/pairs"]
    assert "one of them was replaced by another" in found[0].what


def test_a_record_that_was_replaced_with_its_hash_is_reported(copy: Copy) -> None:
    made = sealed("edges", RUN_ID, "items", "out", "urgent")
    copy.change(
        ("UPDATE edges SET to_node_id = 'urgent', record_hash = ? WHERE from_node_id = 'items'", made[-1:])
    )
    (found,) = [finding for finding in copy.findings(with_dagster=False) if finding.check == "seal_root"]
    assert (found.table, found.key) == ("runs", RUN_ID)
    assert "one of runs, nodes or edges was replaced by another, together with its hash" in found.what


def test_a_tail_that_was_cut_off_is_seen_in_a_run_that_says_it_is_finished(copy: Copy) -> None:
    _cut_tail(copy)
    assert copy.findings(with_dagster=False)


def test_a_tail_that_was_cut_off_with_the_runs_end_is_seen_by_dagster_alone(copy: Copy) -> None:
    _cut_tail(copy)
    attempt = sealed(
        "run_attempts", RUN_ID, SECOND, 2, "interrupted", "here", 1, '{"judge":{"pool":{"pool_size":2}}}',
        "2026-01-31T09:30:02.000000Z", "2026-01-31T09:30:11.000000Z", "tests", '{"completed":1}',
    )  # fmt: skip
    copy.change(
        (
            "UPDATE run_attempts SET status = ?, ended_at = ?, record_hash = ? WHERE attempt = 2",
            (attempt[3], attempt[8], attempt[-1]),
        )
    )
    with closing(sqlite3.connect(copy.path)) as connection:
        stored = connection.execute("SELECT * FROM run_attempts WHERE attempt = 2").fetchone()
    copy.change(
        (
            "UPDATE run_attempts SET record_hash = ? WHERE attempt = 2",
            sealed("run_attempts", *stored[:-1])[-1:],
        )
    )
    assert copy.findings(with_dagster=False) == []
    seen = {(finding.check, finding.key) for finding in copy.findings()}
    assert ("dagster_log", f"{RUN_ID}, bad") in seen
    assert ("dagster_attempts", f"{RUN_ID}, {SECOND}") in seen


def test_a_chain_that_was_rewritten_to_fit_is_seen_by_dagster_alone(copy: Copy) -> None:
    edited = "UPDATE node_states SET duration_ms = 99.5, record_hash = ? WHERE state_id = ?"
    with closing(sqlite3.connect(copy.path)) as connection:
        state = list(
            connection.execute("SELECT * FROM node_states WHERE node_id = 'tidy' LIMIT 1").fetchone()
        )
    columns = schema.node_states.columns.keys()
    state[columns.index("duration_ms")] = 99.5
    copy.change((edited, (sealed("node_states", *state[:-1])[-1], state[0])))
    (found,) = copy.findings(with_dagster=False)
    assert (found.table, found.key) == ("node_executions", "0123abcd/tidy")
    assert (
        "(node_executions 1, node_states 5): one of them was replaced by another, together with" in found.what
    )
    reseal(copy)
    assert copy.findings(with_dagster=False) == []
    findings = copy.findings()
    assert {finding.check for finding in findings} == {"dagster_log"}
    assert f"{RUN_ID}, tidy" in {finding.key for finding in findings}


def test_resealing_what_nobody_changed_changes_nothing(copy: Copy) -> None:
    reseal(copy)
    assert copy.findings() == []


def test_a_seal_that_dagster_was_not_told_of_is_reported_where_the_step_succeeded(copy: Copy) -> None:
    silent = replace(copy, witness=replace(copy.witness, seals=copy.witness.seals[:-1]))
    assert [finding.check for finding in silent.findings()] == ["dagster_log"]


def test_a_process_that_died_before_it_could_tell_dagster_is_a_note(copy: Copy) -> None:
    succeeded = frozenset(one for one in copy.witness.succeeded if one[1] != "bad")
    witness = replace(copy.witness, seals=copy.witness.seals[:-1], succeeded=succeeded)
    report = replace(copy, witness=witness).report()
    assert report.is_clean
    assert any("was not told of seal" in note for note in report.notes)


@pytest.mark.parametrize(
    ("end", "is_fine"), [(RunStatus.COMPLETED, True), (RunStatus.FAILED, False), (None, False)]
)
def test_an_attempt_that_ended_otherwise_in_dagster_is_reported(
    copy: Copy, end: RunStatus | None, *, is_fine: bool
) -> None:
    attempt = "UPDATE runs SET partition_key = NULL"
    copy.change(attempt)
    witness = replace(copy.witness, ends={**copy.witness.ends, SECOND: end})
    found = [one for one in replace(copy, witness=witness).findings() if one.check == "dagster_attempts"]
    assert bool(found) is not is_fine


def test_an_attempt_that_dagster_does_not_know_is_a_note(copy: Copy) -> None:
    report = replace(copy, witness=replace(copy.witness, ends={SECOND: RunStatus.COMPLETED})).report()
    assert report.is_clean
    assert any(RUN_ID in note for note in report.notes)
