"""A pipeline runs on the executor that it names; see also `test_scale_out.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import DeclarationError, LaunchError
from elspeth_dagster.orchestration.executors import executor_of
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.pipeline.spec import Execution
from tests.support import mood_pipeline


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
