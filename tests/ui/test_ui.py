# ruff: noqa: S310 - the only URLs are those of our own server
"""Dagster's own web server and a real browser: launch, terminate and re-execute a run, and look at its pages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.testing import FakeModelServer, FakeModelSettings
from tests.support import Project, model_at, write_csv

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ROWS = 200
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DEFINITIONS = """
from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline
defs = build_definitions(load_pipeline({declaration!r}), landscape=LandscapeResource(url={url!r}))
"""
AT_ONCE = "run_coordinator:\n  module: dagster._core.run_coordinator\n  class: DefaultRunCoordinator\n"
"""Runs start without a daemon that would take them from a queue."""

LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
REEXECUTE = """mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = "mutation($r: String!) { terminateRun(runId: $r) { __typename } }"
STATUS = "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"


def declaration(base_url: str) -> dict[str, Any]:
    """Two opinions on each message, joined."""
    branch = {"kind": "llm", "prompt": "Judge it: {{ row.text }}", "pool": {"pool_size": 4}}
    return {
        "name": "views",
        "models": {"default": model_at(base_url)},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["mood", "haste"]},
            "mood": {**branch, "from": "split.mood", "answer": {"mood": {"enum": ["calm", "angry"]}}},
            "haste": {**branch, "from": "split.haste", "answer": {"haste": {"enum": ["low", "high"]}}},
            "joined": {"kind": "coalesce", "from": {"mood": "mood", "haste": "haste"}},
        },
        "sinks": {"out": {"kind": "csv", "from": "joined", "path": "out.csv"}},
    }


@dataclass(frozen=True)
class Ui:
    """A web server on a project, and the model that its pipeline asks."""

    url: str
    project: Project
    model: FakeModelServer

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.loads(response.read())
        assert "errors" not in answer, answer
        data: dict[str, Any] = next(iter(answer["data"].values()))
        return data

    def launch(self) -> str:
        selector = {
            "repositoryLocationName": "defs.py",
            "repositoryName": "__repository__",
            "jobName": "views",
        }
        done = self.ask(LAUNCH, p={"selector": selector, "mode": "default", "runConfigData": {}})
        return str(done["run"]["runId"])

    def wait_for(self, run_id: str, *statuses: str) -> str:
        found = ""

        def has_come() -> bool:
            nonlocal found
            found = self.ask(STATUS, r=run_id)["status"]
            return found in statuses

        until(has_come)
        return found


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """There is no event to wait for across processes that are not ours."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    write_csv(folder / "in.csv", ["id", "text"], [[index, f"row-{index}."] for index in range(ROWS)])
    project = Project(folder, f"sqlite:///{folder / 'landscape.db'}")
    with FakeModelServer(FakeModelSettings(latency_ms=5)) as model:
        project.declare(declaration(model.base_url))
        with project.instance():
            pass
        settings = project.dagster_home / "dagster.yaml"
        settings.write_text(f"{settings.read_text()}{AT_ONCE}")
        code = DEFINITIONS.format(declaration=str(project.declaration), url=project.landscape_url)
        (folder / "defs.py").write_text(code)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [Path(sys.executable).parent / "dagster-webserver", "-f", "defs.py", "-p", str(port)],
            cwd=folder,
            env={**os.environ, "DAGSTER_HOME": str(project.dagster_home), "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: server.poll() is None and _is_up(f"http://127.0.0.1:{port}"))
            yield Ui(f"http://127.0.0.1:{port}", project, model)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2):
            return True
    except OSError:
        return False


def test_a_run_is_launched_terminated_midway_and_re_executed_from_failure(ui: Ui) -> None:
    ui.model.change(latency_ms=300)
    before = ui.model.stats().answered
    run_id = ui.launch()
    until(lambda: ui.model.stats().answered >= before + 12)

    assert ui.ask(TERMINATE, r=run_id)["__typename"] == "TerminateRunSuccess"
    assert ui.wait_for(run_id, "CANCELED", "FAILURE") == "CANCELED"

    assert ui.project.query("SELECT count(*) FROM calls WHERE status = 'unknown'") == [(0,)]
    assert ui.project.query("SELECT count(*) FROM node_states WHERE status = 'open'") == [(0,)]
    ui.model.change(latency_ms=0)
    again = ui.ask(REEXECUTE, p={"parentRunId": run_id, "strategy": "FROM_FAILURE"})["run"]["runId"]
    assert ui.wait_for(again, "SUCCESS", "FAILURE") == "SUCCESS"
    assert ui.model.stats().repeated == 0
    assert ui.project.query("SELECT count(DISTINCT run_id), count(*) FROM run_attempts") == [(1, 2)]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the pages were not looked at")
@pytest.mark.filterwarnings("ignore")
def test_a_browser_sees_the_graph_and_the_joins_page(ui: Ui) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    run_id = ui.launch()
    assert ui.wait_for(run_id, "SUCCESS", "FAILURE") == "SUCCESS"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(90_000)
        page.goto(f"{ui.url}/asset-groups/")
        page.get_by_text("joined").first.wait_for()
        _keep(page, "ui-graph.png")
        page.goto(f"{ui.url}/assets/views/joined")
        page.get_by_text("elspeth/policy").first.wait_for()
        text = page.inner_text("body")
        assert "require_all" in text
        assert "elspeth/arrival_order" in text
        _keep(page, "ui-join.png")
        page.goto(f"{ui.url}/assets/views/mood")
        page.get_by_role("button", name="Plots").click()
        page.locator("canvas").first.wait_for()
        _keep(page, "ui-plots.png")
        browser.close()


def _keep(page: Any, name: str) -> None:
    """Screenshots for the docs, where somebody asks for them: ``UI_SCREENSHOTS=docs/images``."""
    folder = os.environ.get("UI_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / name))
