"""Through Dagster's own web server a run is launched, terminated midway and re-executed from its failure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project, mood_pipeline, write_csv
from tests.ui.serving import Served, served, until

ROWS = 40
POOL = 4
LATEST_CALL_S = 0.5
DEFINITIONS = """
from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline
defs = build_definitions(load_pipeline({declaration!r}), landscape=LandscapeResource(url={url!r}))
"""
AT_ONCE = "run_coordinator:\n  module: dagster._core.run_coordinator\n  class: DefaultRunCoordinator\n"
"""Runs start without a daemon that would take them from a queue."""


def declaration(base_url: str) -> dict[str, Any]:
    """Three nodes: each costs a step's time in Dagster."""
    whole = mood_pipeline(base_url, pool={"pool_size": POOL}, on_error="discard")
    return {
        **whole,
        "source": {**whole["source"], "on_invalid": "discard"},
        "steps": {"judge": whole["steps"]["judge"]},
        "sinks": {"out": {"kind": "csv", "from": "judge", "path": "out.csv"}},
    }


@dataclass(frozen=True)
class Site:
    """A web server on a project, and the model that its pipeline asks."""

    web: Served
    project: Project
    model: FakeModelServer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    write_csv(tmp_path / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'landscape.db'}")
    with FakeModelServer(FakeModelSettings(latency_ms=300)) as model:
        project.declare(declaration(model.base_url))
        with project.instance():
            pass
        settings = project.dagster_home / "dagster.yaml"
        settings.write_text(f"{settings.read_text()}{AT_ONCE}")
        code = DEFINITIONS.format(declaration=str(project.declaration), url=project.landscape_url)
        (tmp_path / "defs.py").write_text(code)
        with served(tmp_path, project.dagster_home, target=["-f", "defs.py"], location="defs.py") as web:
            yield Site(web, project, model)


def test_a_run_is_launched_terminated_midway_and_re_executed_from_failure(site: Site) -> None:
    query = site.project.query
    run_id = site.web.launch("moods", {"ops": {"moods__source": {"config": {"limit": ROWS - 10}}}})
    until(lambda: site.model.stats().answered >= 3 * POOL)

    terminated_at = dt.datetime.now(dt.UTC)
    assert site.web.terminate(run_id) == "TerminateRunSuccess"
    assert site.web.wait_for(run_id, "CANCELED", "FAILURE") == "CANCELED"

    ((latest_sent,),) = query("SELECT max(sent_at) FROM calls WHERE error_json IS NULL")
    assert (dt.datetime.fromisoformat(latest_sent) - terminated_at).total_seconds() <= LATEST_CALL_S
    calls = dict(query("SELECT status, count(*) FROM calls GROUP BY status"))
    assert calls["answered"] == site.model.stats().answered  # what was in flight is recorded
    assert set(calls) <= {"answered", "failed"}
    assert query("SELECT count(*) FROM node_states WHERE status = 'open'") == [(0,)]
    assert query("SELECT status FROM node_executions WHERE node_id = 'judge'") == [("interrupted",)]

    site.model.change(latency_ms=0)
    again = site.web.re_execute(run_id)
    assert site.web.wait_for(again, "SUCCESS", "FAILURE") == "SUCCESS"
    assert site.model.stats().repeated == 0
    assert query("SELECT count(DISTINCT run_id), count(*) FROM run_attempts") == [(1, 2)]
    assert query("SELECT count(*) FROM token_outcomes WHERE is_terminal") == [(ROWS - 10,)]
