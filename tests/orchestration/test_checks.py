"""Asset checks: each says what it found, and holds up what comes after where the declaration says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.seals import Seal, seal_holds
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.runtime.proofs import SinkProof
from elspeth_dagster.testing import FakeModelServer, FakeModelSettings, Fault, Rule
from tests.cli.tampering import tamper
from tests.support import Project, mood_pipeline, write_csv

ROWS = 20
FAILING = 4


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def run(project: Project, **checks: Any) -> dg.JobExecutionResult:
    rules = tuple(Rule(f"row-{index}.", Fault.CONTENT_FILTER) for index in range(FAILING))
    with FakeModelServer(FakeModelSettings(rules=rules)) as server:
        project.declare({**mood_pipeline(server.base_url), "dagster": {"checks": checks}})
        return project.run()


def results(result: dg.JobExecutionResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = {}
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            found["/".join(evaluation.asset_key.path[1:]), evaluation.check_name] = evaluation
    return found


def test_every_node_has_its_checks_and_a_sound_run_passes_them(project: Project) -> None:
    found = results(run(project, error_rate={"warn": 0.9}))
    assert all(evaluation.passed for evaluation in found.values())
    assert {name for asset, name in found if asset == "judge"} == {"balance", "order", "error_rate", "seal"}
    assert {name for asset, name in found if asset == "angry"} == {
        "balance",
        "seal",
        "reconciliation",
        "invariants",
    }
    assert {name for asset, name in found if asset == "triage/rest"} == {"balance"}


@pytest.mark.parametrize(
    ("thresholds", "severity"),
    [({"warn": 0.1, "fail": 0.5}, dg.AssetCheckSeverity.WARN), ({"fail": 0.1}, dg.AssetCheckSeverity.ERROR)],
)
def test_an_error_rate_warns_above_one_threshold_and_fails_above_the_other(
    project: Project, thresholds: dict[str, float], severity: dg.AssetCheckSeverity
) -> None:
    result = run(project, error_rate=thresholds)
    check = results(result)["judge", "error_rate"]
    assert result.success
    assert not check.passed
    assert check.severity is severity
    assert check.description == "4 of 20 rows failed (20.0%), most with content_filtered"


def test_a_check_that_blocks_holds_up_what_comes_after_it(project: Project) -> None:
    result = run(project, error_rate={"fail": 0.1}, blocking=["error_rate"])
    assert not result.success
    started = {event.step_key for event in result.all_events if event.is_step_start}
    assert "moods__judge" in started
    assert "moods__triage" not in started


def test_a_warning_holds_up_nothing(project: Project) -> None:
    result = run(project, error_rate={"warn": 0.1, "fail": 0.5}, blocking=["error_rate"])
    assert not results(result)["judge", "error_rate"].passed
    assert result.success


def test_a_check_that_does_not_exist_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    declaration = mood_pipeline("http://127.0.0.1:9/v1") | {"dagster": {"checks": {"blocking": ["balanse"]}}}
    with pytest.raises(DeclarationError) as refused:
        pipeline_from(declaration, base=tmp_path)
    assert "dagster.checks.blocking" in str(refused.value)
    assert "balance" in str(refused.value)


def test_a_seal_does_not_hold_over_a_record_that_was_changed(project: Project) -> None:
    run(project)
    ((run_id, execution_id, sequence, seal_hash),) = project.query(
        "SELECT run_id, execution_id, sequence, seal_hash FROM seals WHERE execution_id LIKE '%/judge'"
    )
    seal = Seal(execution_id, sequence, bytes(seal_hash))
    database = Database(project.landscape_url)
    assert seal_holds(database, seal, run_id=run_id, node_id="judge")
    tamper(
        project,
        "UPDATE node_states SET record_hash = zeroblob(32) WHERE node_id = 'judge' AND status = 'failed'",
    )
    assert seal_holds(database, seal, run_id=run_id, node_id="judge") is False
    assert seal_holds(database, seal, run_id=run_id, node_id="judge", records_max=10) is None
    missing = Seal(execution_id, sequence, bytes(32))
    assert seal_holds(database, missing, run_id=run_id, node_id="judge", records_max=10) is False
    database.dispose()


@pytest.mark.parametrize(
    ("proof", "holds"),
    [
        (SinkProof(arrived=3, written=3, ended=3, is_file_whole=True), True),
        (SinkProof(arrived=3, written=2, ended=3, is_file_whole=True), False),
        (SinkProof(arrived=3, written=3, ended=2, is_file_whole=True), False),
        (SinkProof(arrived=3, written=3, ended=3, is_file_whole=False), False),
    ],
)
def test_a_sink_is_reconciled_when_file_outcomes_and_arrivals_agree(proof: SinkProof, *, holds: bool) -> None:
    assert proof.holds is holds
