"""What an operator changes at launch is what the run does; who launched it is recorded."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.snap.config_types import build_config_schema_snapshot
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from dagster._core.workspace.context import WorkspaceRequestContext

from elspeth_dagster import LandscapeResource, ModelResource, build_definitions, load_pipeline
from elspeth_dagster.errors import LaunchError
from elspeth_dagster.orchestration.attribution import AttributingRunCoordinator
from elspeth_dagster.orchestration.launch_config import config_schema, limit_of
from elspeth_dagster.pooling import PoolConfig
from elspeth_dagster.testing import FakeModelServer
from tests.support import QUIET, Project, model_at, mood_pipeline, write_csv

ROWS = 6


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    return Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")


def launch(
    project: Project,
    ops: dict[str, Any],
    *,
    resources: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """In this process, as a code location with these resources would."""
    pipeline = load_pipeline(project.declaration)
    definitions = build_definitions(pipeline, landscape=LandscapeResource(url=project.landscape_url))
    if resources:
        definitions = dg.Definitions.merge(definitions, dg.Definitions(resources=resources))
    with project.instance() as instance:
        return definitions.resolve_job_def(pipeline.name).execute_in_process(
            instance=instance,
            run_config={**QUIET, "ops": {f"moods__{name}": {"config": given} for name, given in ops.items()}},
            tags=tags,
            raise_on_error=False,
        )


def test_the_form_has_the_declarations_own_values_as_defaults(project: Project) -> None:
    project.declare(mood_pipeline("http://127.0.0.1:9/v1", pool={"pool_size": 8}))
    pipeline = load_pipeline(project.declaration)
    form = config_schema(pipeline.nodes["judge"])
    assert form is not None
    assert form["model"].default_value == "default"
    pool = form["pool"].config_type.fields  # type: ignore[attr-defined]
    assert pool["pool_size"].default_value == 8
    assert pool["pool_size"].description
    limit = config_schema(pipeline.nodes["source"])
    assert limit is not None
    assert limit["limit"].default_value == "all"
    assert config_schema(pipeline.nodes["triage"]) is None


def test_the_launchpad_opens_with_all_that_can_be_changed_spelled_out(project: Project) -> None:
    project.declare(mood_pipeline("http://127.0.0.1:9/v1", pool={"pool_size": 8, "shared": True}))
    definitions = build_definitions(load_pipeline(project.declaration))
    job = definitions.resolve_job_def("moods")
    snapshot = build_config_schema_snapshot(job)
    form = snapshot.get_config_snap(job.run_config_schema.config_type.key)
    text = default_values_yaml_from_type_snap(snapshot, form)
    filled = yaml.safe_load(text)["ops"]
    assert filled["moods__source"]["config"] == {"limit": "all"}
    assert filled["moods__judge"]["config"]["model"] == "default"
    declared = PoolConfig(pool_size=8, shared=True)
    assert filled["moods__judge"]["config"]["pool"] == declared.model_dump()


def test_a_launch_as_the_launchpad_fills_it_in_is_the_launch_as_declared(project: Project) -> None:
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        pool = PoolConfig(pool_size=8).model_dump()
        filled = {"source": {"limit": "all"}, "judge": {"model": "default", "pool": pool}}
        assert launch(project, filled).success
        assert launch(project, {}).success
    hashes = project.query("SELECT DISTINCT config_json FROM nodes WHERE node_id = 'judge'")
    assert len(hashes) == 1
    assert project.query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(2 * ROWS,)]


@pytest.mark.parametrize("limit", [0, -5, True, "many", 2.5, [3]])
def test_a_limit_that_is_none_is_refused_in_words(project: Project, limit: object) -> None:
    project.declare(mood_pipeline("http://127.0.0.1:9/v1"))
    pipeline = load_pipeline(project.declaration)
    with pytest.raises(LaunchError, match="is no number of records") as refused:
        limit_of(pipeline, {"ops": {"moods__source": {"config": {"limit": limit}}}})
    assert refused.value.where == "the launch's configuration, ops.moods__source.config.limit"
    assert refused.value.hint == "give a whole number of at least 1, or 'all'"


def test_limit_model_and_pool_of_a_launch_are_what_the_run_does(project: Project) -> None:
    with FakeModelServer() as server:
        declaration = mood_pipeline(server.base_url)
        declaration["models"]["other"] = {**model_at(server.base_url), "model": "another"}
        project.declare(declaration)
        result = launch(
            project, {"source": {"limit": 4}, "judge": {"model": "other", "pool": {"pool_size": 2}}}
        )
    assert result.success
    assert project.query("SELECT count(*), max(model_requested) FROM calls") == [(4, "another")]
    ((stats,),) = project.query("SELECT pool_stats_json FROM node_executions WHERE node_id = 'judge'")
    assert yaml.safe_load(stats)["pool_config"]["pool_size"] == 2
    ((config,),) = project.query("SELECT config_json FROM nodes WHERE node_id = 'judge'")
    assert yaml.safe_load(config)["model"]["model"] == "another"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "defalt"}, "There is no model 'defalt'. Did you mean 'default'?"),
        ({"pool": {"pool_size": 0}}, "pool_size: Input should be greater than or equal to 1"),
        ({"pool": {"min_dispatch_delay_ms": 9000.0}}, "cannot exceed"),
    ],
)
def test_a_launch_that_cannot_be_is_refused_before_any_call(
    project: Project, given: dict[str, Any], said: str
) -> None:
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        result = launch(project, {"judge": given})
        assert server.stats().requests == 0
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert said in (failure.step_failure_data.user_failure_data.description or "")
    assert not (project.folder / "landscape.db").exists()  # nothing was begun


def test_a_model_that_is_not_declared_is_the_resource_of_that_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGES_KEY", "sk-resource")
    with FakeModelServer() as server:
        declaration = mood_pipeline(server.base_url, model="judges_model")
        project.declare(declaration)
        model = ModelResource(
            model="from-a-resource", base_url=server.base_url, api_key=dg.EnvVar("JUDGES_KEY")
        )
        result = launch(project, {}, resources={"judges_model": model})
    assert result.success
    assert project.query("SELECT count(*), max(model_requested) FROM calls") == [(ROWS, "from-a-resource")]
    everything = "".join(
        str(row) for row in project.query("SELECT spec_json, config_json FROM runs JOIN nodes")
    )
    assert "sk-resource" not in everything


def test_a_model_that_nobody_gives_is_named_when_the_location_loads(project: Project) -> None:
    project.declare(mood_pipeline("http://127.0.0.1:9/v1", model="judges_model"))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="judges_model"):
        launch(project, {})


def test_a_resource_of_that_name_that_is_no_model_is_refused(project: Project) -> None:
    project.declare(
        mood_pipeline("http://127.0.0.1:9/v1", model="landscape")
    )  # as the Landscape's own is called
    result = launch(project, {})
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    said = failure.step_failure_data.user_failure_data.description or ""
    assert "The resource 'landscape' is a LandscapeResource, not a ModelResource." in said
    assert "next:  give the model another name" in said


def test_the_run_carries_tags_that_it_is_found_by(project: Project) -> None:
    with FakeModelServer() as server:
        project.declare(mood_pipeline(server.base_url))
        run_id = launch(project, {}, tags={"user": "ana"}).run_id
    with project.instance() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.tags["elspeth/run_id"] == run_id
        assert run.tags["elspeth/pipeline"] == "moods"
    assert project.query("SELECT launched_by FROM runs") == [("user: ana",)]


def test_a_proxys_header_says_who_launched_the_run(tmp_path: Path) -> None:
    overrides = {
        "run_coordinator": {
            "module": "elspeth_dagster.orchestration.attribution",
            "class": "AttributingRunCoordinator",
            "config": {"user_header": "X-Forwarded-Email", "max_concurrent_runs": 3},
        }
    }
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=overrides) as instance:
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, AttributingRunCoordinator)
        run = instance.create_run_for_job(
            _job, tags={"user": "somebody else"}, status=dg.DagsterRunStatus.NOT_STARTED
        )
        request = object.__new__(WorkspaceRequestContext)
        request._source = SimpleNamespace(headers={"X-Forwarded-Email": "ana@example.org"})
        context = SubmitRunContext(run, request)
        assert context.get_request_header("X-Forwarded-Email") == "ana@example.org"
        with pytest.raises(
            Exception, match="is required for queued runs"
        ):  # queueing wants a run of a code location; its name is kept
            coordinator.submit_run(context)
        named = instance.get_run_by_id(run.run_id)
        assert named is not None
        assert named.tags["user"] == "ana@example.org"
    assert os.environ.get("DAGSTER_HOME") is None


@dg.op
def nothing() -> None:
    """A run needs a job."""


@dg.job
def _job() -> None:
    nothing()
