"""In a real browser: an operator launches the demo from its graph, reads what happened, and ends a run midway."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project
from tests.ui.operating import TALL, USER, WALL, Operator, operator
from tests.ui.serving import Served, served, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the pages were not looked at"),
    pytest.mark.filterwarnings("ignore"),
]

REPOSITORY = Path(__file__).parents[2]
DEMO = ("definitions.py", "workspace.yaml", "pyproject.toml", "pipelines")
DEMOS_MODEL = "http://127.0.0.1:18399/v1"
POOL = 32
LATEST_CALL_S = 0.5
BOUGHT_TWICE = """
SELECT s.token_id FROM calls c JOIN node_states s ON s.state_id = c.state_id
WHERE s.run_id = :run AND c.status = 'answered' AND c.reused_from IS NULL
GROUP BY s.token_id, s.node_id HAVING count(*) > 1
"""
"""Rows that were answered, paid for, and asked again by the same step."""
SETTINGS = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: elspeth_dagster.orchestration.attribution
  class: AttributingRunCoordinator
"""


@dataclass(frozen=True)
class Site:
    """The demo, served; the model that it asks; and somebody in front of it."""

    web: Served
    project: Project
    model: FakeModelServer
    operator: Operator

    def count(self, what: str, **parameters: object) -> int:
        ((number,),) = self.project.query(f"SELECT count(*) FROM {what}", **parameters)  # noqa: S608 - our own
        return int(number)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in DEMO:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("out", "__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(SETTINGS)
    declaration = tmp_path / "pipelines" / "defs" / "complaints" / "defs.yaml"
    project = Project(tmp_path, f"sqlite:///{tmp_path / '.elspeth' / 'landscape.db'}")
    with FakeModelServer(FakeModelSettings(latency_ms=40)) as model:
        declaration.write_text(declaration.read_text().replace(DEMOS_MODEL, model.base_url))
        location = "elspeth_dagster"
        with (
            served(
                tmp_path, home, target=["-w", "workspace.yaml"], location=location, has_daemon=True
            ) as web,
            operator(str(CHROMIUM), web.url, location) as somebody,
        ):
            yield Site(web, project, model, somebody)


def test_an_operator_launches_the_demo_reads_its_pages_and_terminates_a_run(site: Site) -> None:
    ana = site.operator
    run_ids = [_launch(site, limit) for limit in (200, 300)]
    assert site.project.query("SELECT launched_by FROM runs") == [(f"user: {USER}",)] * 2
    assert site.count("tokens WHERE run_id = :run AND token_id NOT LIKE '%.%'", run=run_ids[1]) >= 300

    ana.open_graph("complaints", size=WALL)
    until(lambda: "Loading" not in ana.page.inner_text("body"))
    ana.keep("asset-graph-details.png", clip=(250, 170, 2090, 760))
    _read_the_join(ana, run_ids[1])
    _look_at_the_plots(ana)
    _terminate_and_go_on(site)


def _launch(site: Site, limit: int) -> str:
    ana = site.operator
    ana.open_graph("complaints")
    form = ana.open_launchpad()
    assert "model: default" in form
    assert "pool_size: 32" in form
    assert "max_capacity_retry_seconds: 600" in form
    ana.set_limit(limit)
    ana.keep("launchpad.png")
    run_id = ana.materialize()
    ana.wait_for_status("Success")
    ana.keep("run.png")
    return run_id


def _read_the_join(ana: Operator, run_id: str) -> None:
    ana.open_asset("complaints", "judged", size=TALL)
    ana.page.get_by_text("mostly").first.wait_for()  # Markdown is drawn later than the rest
    text = ana.page.inner_text("body")
    assert run_id in text
    for said in ("elspeth/policy", "require_all", "elspeth/arrival_order", "mood > urgency", "median offset"):
        assert said in text
    assert re.search(r"mostly\s+(mood > urgency|urgency > mood)\s*:\s+\d+ of \d+", text)  # the story
    box = ana.page.locator("table", has_text="elspeth/story").first.bounding_box()
    assert box is not None
    ana.keep("join-page.png", clip=(box["x"], box["y"], box["width"], min(box["height"], 800)))


def _look_at_the_plots(ana: Operator) -> None:
    ana.open_asset("complaints", "mood", size=TALL)
    ana.page.get_by_role("button", name="Plots").click()
    ana.page.locator("canvas").first.wait_for()
    box = ana.page.locator("canvas").first.bounding_box()
    assert box is not None
    text = ana.page.inner_text("body")
    for plotted in ("elspeth/rows_per_second", "elspeth/latency_p95_ms", "elspeth/cost_usd"):
        assert plotted in text
    ana.keep("plots.png", clip=(box["x"] - 30, box["y"] - 60, 1000, 900))


def _terminate_and_go_on(site: Site) -> None:
    ana, query = site.operator, site.project.query
    site.model.change(latency_ms=400)
    before = site.model.stats().answered
    ana.open_graph("complaints")
    run_id = ana.materialize_all()
    until(lambda: site.model.stats().answered >= before + 3 * POOL)

    ana.terminate()
    terminated_at = dt.datetime.now(dt.UTC)
    ana.wait_for_status("Canceled")
    ana.keep("terminated.png")

    ((latest_sent,),) = query("SELECT max(sent_at) FROM calls WHERE error_json IS NULL")
    assert (dt.datetime.fromisoformat(latest_sent) - terminated_at).total_seconds() <= LATEST_CALL_S
    assert site.count("calls WHERE status IN ('open', 'unknown')") == 0
    assert site.count("node_states WHERE status = 'open'") == 0
    assert query(
        "SELECT status FROM node_executions WHERE run_id = :run AND node_id = 'mood'", run=run_id
    ) == [("interrupted",)]
    site.model.change(latency_ms=0)
    ana.re_execute_from_failure()
    ana.wait_for_status("Success")
    assert site.count(f"({BOUGHT_TWICE})", run=run_id) == 0
    assert query("SELECT attempt FROM run_attempts WHERE run_id = :run ORDER BY attempt", run=run_id) == [
        (1,),
        (2,),
    ]


def test_a_run_that_was_killed_is_found_by_the_sensor_and_re_executed_by_a_click(site: Site) -> None:
    ana, query = site.operator, site.project.query
    site.model.change(latency_ms=400)
    ana.open_graph("complaints")
    run_id = ana.materialize_all()
    until(lambda: site.model.stats().answered >= 3 * POOL)
    ((pid,),) = query("SELECT pid FROM run_attempts")

    os.kill(pid, signal.SIGKILL)
    ana.wait_for_status(
        "Failure"
    )  # where the code server is alive, it sees the process gone; else the sensor does
    until(lambda: query("SELECT status FROM run_attempts") == [("failed",)])  # within a tick of the sensor

    site.model.change(latency_ms=0)
    ana.re_execute_from_failure()
    ana.wait_for_status("Success")
    assert 1 <= site.count("calls WHERE status = 'unknown'") <= POOL
    assert site.count(f"({BOUGHT_TWICE})", run=run_id) == 0
    sent = site.count("calls WHERE reused_from IS NULL")
    assert site.model.stats().requests <= sent  # every request that left is listed
