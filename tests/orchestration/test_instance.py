"""The instance that the docs propose is one that Dagster accepts, with what matters switched on."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster import Field
from dagster._config import process_config
from dagster_celery.executor import CELERY_CONFIG

from elspeth_dagster.orchestration.attribution import AttributingRunCoordinator
from elspeth_dagster.orchestration.executors import executor_of
from elspeth_dagster.pipeline.spec import Execution
from elspeth_dagster.pooling.executor import DRAIN_S
from tests.postgres import Postgres

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "dagster.yaml"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Dagster's own storage
def test_the_example_instance_comes_up_on_postgresql(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.empty().replace("postgresql+psycopg://", "postgresql+psycopg2://", 1)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url.replace("postgresql://", "postgresql+psycopg2://", 1))
    (tmp_path / "dagster.yaml").write_text(EXAMPLE.read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_coordinator, AttributingRunCoordinator)
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert instance.get_runs_count() == 0
        assert instance.event_log_storage.supports_global_concurrency_limits
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 0


def test_every_setting_of_the_example_has_its_reason_beside_it() -> None:
    sections = yaml.safe_load(EXAMPLE.read_text())
    assert {"telemetry", "storage", "run_monitoring", "concurrency", "run_retries"} <= set(sections)


def test_the_pages_celery_settings_are_ones_that_the_executor_and_its_worker_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "filesystem://")
    monkeypatch.setenv("CELERY_RESULT_URL", "file:///results")
    page = (DOCS / "scaling.md").read_text()
    blocks = [yaml.safe_load(block) for block in BLOCK.findall(page)]
    (declared,) = [block["execution"] for block in blocks if "execution" in block]
    found = executor_of(Execution(**declared))
    assert found is not None
    assert found.name == "celery"
    taken = process_config(Field(CELERY_CONFIG).config_type, declared["config"])
    assert taken.success
    assert taken.value is not None
    assert (taken.value["broker"], taken.value["backend"]) == ("filesystem://", "file:///results")
    (ray,) = [block["run_launcher"]["config"]["ray"] for block in blocks if "run_launcher" in block]
    assert float(ray["runtime_env"]["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) > DRAIN_S


def test_a_pod_has_more_time_to_end_than_answers_in_flight_have() -> None:
    values = yaml.safe_load((DOCS / "examples" / "kubernetes.yaml").read_text())
    pod = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"]
    assert pod["terminationGracePeriodSeconds"] > DRAIN_S
    assert values["concurrency"]["pools"]["granularity"] == "op"
