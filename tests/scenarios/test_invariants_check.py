"""The sink that ends last shows whether the whole run is what it must be, proved from what was recorded."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from elspeth_dagster.landscape.verify import COUNTING
from elspeth_dagster.testing import FakeModelServer
from tests.support import Project, mood_pipeline, write_csv


def _project(folder: Path) -> Project:
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(20)])
    return Project(folder, f"sqlite:///{folder / 'landscape.db'}")


def _invariants(result: dg.JobExecutionResult) -> list[dg.AssetCheckEvaluation]:
    """Those of sinks that found the run finished."""
    checks = [one for one in result.get_asset_check_evaluations() if one.check_name == "invariants"]
    assert all(one.passed for one in checks if not one.metadata["is_last"].value)
    return [one for one in checks if one.metadata["is_last"].value]


def test_a_run_whose_invariants_hold_says_so_once(tmp_path: Path) -> None:
    project = _project(tmp_path)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = project.run()
    (check,) = _invariants(result)
    assert check.passed
    assert check.metadata["findings"].value == 0
    assert check.metadata["invariants"].value == len(COUNTING)


def test_a_broken_invariant_fails_the_check_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _project(tmp_path)
    # A gate that forgets to record its choices.
    monkeypatch.setattr("elspeth_dagster.runtime.recording.sealed", _without_choices())
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = project.run()
    (check,) = _invariants(result)
    assert not check.passed
    assert check.metadata["findings"].value == 20
    table = check.metadata["first_findings"]
    assert isinstance(table, dg.TableMetadataValue)
    assert {record.data["invariant"] for record in table.records} == {"every gate's choice is recorded"}


def test_it_fails_the_run_where_it_is_declared_to_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _project(tmp_path)
    monkeypatch.setattr("elspeth_dagster.runtime.recording.sealed", _without_choices())
    with FakeModelServer() as server:
        project.declare(
            {**mood_pipeline(server.base_url), "dagster": {"checks": {"blocking": ["invariants"]}}}
        )
        result = project.run()
    (check,) = _invariants(result)
    assert not check.passed
    assert check.blocking
    assert not result.success


def _without_choices() -> object:
    from elspeth_dagster.landscape.records import sealed  # noqa: PLC0415 - the original, before it is replaced

    def other(table: str, *cells: object) -> object:
        if table == "routing_events":
            cells = (*cells[:2], "another", *cells[3:])
        return sealed(table, *cells)  # type: ignore[arg-type]

    return other


def test_a_run_that_failed_has_no_check_and_its_resume_has(tmp_path: Path) -> None:
    project = _project(tmp_path)
    blocked = tmp_path / "out" / "angry.csv"
    blocked.mkdir(parents=True)
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        first = project.run()
        assert not first.success
        assert _invariants(first) == []
        blocked.rmdir()
        second = project.run(resume=first.run_id)
    (check,) = _invariants(second)
    assert check.passed
