"""A pipeline runs on the executor that it names; several processes write to one PostgreSQL Landscape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elspeth_dagster.errors import DeclarationError, LaunchError
from elspeth_dagster.orchestration.executors import executor_of
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.pipeline.spec import Execution
from elspeth_dagster.testing import FakeModelServer
from tests.postgres import Postgres
from tests.support import Project, mood_pipeline, write_csv

ROWS = 60


@pytest.mark.parametrize(
    ("executor", "name"),
    [
        ("in_process", "in_process"),
        ("multiprocess", "multiprocess"),
        ("celery", "celery"),
        ("dagster:multi_or_in_process_executor", "multi_or_in_process_executor"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # what an integration warns of while it is imported is its own
def test_an_executor_is_found_by_name_or_path(executor: str, name: str) -> None:
    found = executor_of(Execution(executor=executor))
    assert found is not None
    assert found.name == name


def test_the_locations_own_executor_is_left_to_the_location() -> None:
    assert executor_of(Execution(executor="location")) is None


def test_an_executors_settings_go_with_it() -> None:
    found = executor_of(Execution(executor="multiprocess", config={"max_concurrent": 2}))
    assert found is not None
    assert found.name == "multiprocess"


@pytest.mark.parametrize("executor", ["no_such_package:executor", "dagster:asset"])
def test_what_is_not_there_or_no_executor_is_refused(executor: str) -> None:
    with pytest.raises(LaunchError, match="cannot be used"):
        executor_of(Execution(executor=executor))


def test_a_misspelt_executor_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    declaration: dict[str, Any] = mood_pipeline("http://127.0.0.1:9/v1")
    with pytest.raises(DeclarationError) as refused:
        pipeline_from({**declaration, "execution": {"executor": "multiproces"}}, base=tmp_path)
    assert "Did you mean 'multiprocess'?" in str(refused.value)


@pytest.mark.long
def test_processes_of_a_multiprocess_run_share_a_postgresql_landscape(
    tmp_path: Path, postgres: Postgres
) -> None:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    url = postgres.ready()
    project = Project(tmp_path, url)
    with FakeModelServer() as server:
        declaration = mood_pipeline(server.base_url)
        project.declare({**declaration, "execution": {"executor": "multiprocess"}})
        result: dg.JobExecutionResult = project.run()
        assert result.success
        assert server.stats().requests == ROWS
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS,)]
    processes = {event.pid for event in result.all_events if event.is_step_success}
    assert len(processes) > 1
    postgres.take_back(url)
