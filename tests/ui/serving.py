# ruff: noqa: S310 - the only URLs are those of our own server
"""Dagster's own web server and daemon, as processes, and what asks them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
REEXECUTE = """mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = "mutation($r: String!) { terminateRun(runId: $r) { __typename } }"
STATUS = "query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"


@dataclass(frozen=True)
class Served:
    """A web server that is up, and the one code location that it serves."""

    url: str
    location: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer to a GraphQL query or mutation of one field."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.loads(response.read())
        assert "errors" not in answer, answer
        data: dict[str, Any] = next(iter(answer["data"].values()))
        return data

    def launch(self, job: str, config: dict[str, Any] | None = None) -> str:
        selector = {
            "repositoryLocationName": self.location,
            "repositoryName": "__repository__",
            "jobName": job,
        }
        done = self.ask(LAUNCH, p={"selector": selector, "mode": "default", "runConfigData": config or {}})
        return str(done["run"]["runId"])

    def terminate(self, run_id: str) -> str:
        return str(self.ask(TERMINATE, r=run_id)["__typename"])

    def re_execute(self, run_id: str) -> str:
        again = self.ask(REEXECUTE, p={"parentRunId": run_id, "strategy": "FROM_FAILURE"})
        return str(again["run"]["runId"])

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
        time.sleep(0.1)


@contextmanager
def served(
    folder: Path, home: Path, *, target: Sequence[str], location: str, has_daemon: bool = False
) -> Iterator[Served]:
    """Serve ``target`` (options of the command line) from ``folder`` until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = [["dagster-webserver", *target, "-p", str(port)]]
    if has_daemon:
        programs.append(["dagster-daemon", "run", *target])
    with ExitStack() as stack:
        running = [stack.enter_context(_program(program, folder, home)) for program in programs]
        url = f"http://127.0.0.1:{port}"
        until(lambda: all(one.poll() is None for one in running) and _is_up(url))
        yield Served(url, location)


@contextmanager
def _program(program: Sequence[str], folder: Path, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [Path(sys.executable).parent / program[0], *program[1:]],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2):
            return True
    except OSError:
        return False
