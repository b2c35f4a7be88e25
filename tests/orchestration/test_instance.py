"""The instance that the docs propose is one that Dagster accepts, with what matters switched on."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from elspeth_dagster.orchestration.attribution import AttributingRunCoordinator
from tests.postgres import Postgres

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "dagster.yaml"


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
