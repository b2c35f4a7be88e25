"""A real Celery worker in a process of its own, over a broker and results that are folders: no server is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
END_S_MAX: Final = 20.0


def celery_settings(folder: Path) -> dict[str, Any]:
    """The executor's `config:`: the same for who asks and for who works."""
    messages, results = folder / "messages", folder / "results"
    for made in (messages, results):
        made.mkdir(parents=True, exist_ok=True)
    transport = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(folder / "control"),
    }
    return {
        "broker": "filesystem://",
        "backend": f"file://{results}",
        "config_source": {"broker_transport_options": transport},
    }


@contextmanager
def celery_worker(folder: Path, settings: dict[str, Any], *, dagster_home: Path, steps: int) -> Iterator[int]:
    """Start `dagster-celery worker` for so many steps at once, and end it; gives its process's id."""
    dagster_home.mkdir(exist_ok=True)
    given = folder / "celery.yaml"
    given.write_text(yaml.safe_dump({"execution": {"executor": "celery", "config": settings}}))
    scripts = Path(sys.executable).parent
    command = [
        str(scripts / "dagster-celery"),
        "worker",
        "start",
        "-A",
        "dagster_celery.app",
        "-y",
        str(given),
    ]
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "DAGSTER_HOME": str(dagster_home),
    }
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--", "--concurrency", str(steps), "--without-mingle", "--without-gossip"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it starts processes of its own, which end with it
        )
    try:
        yield worker.pid
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(timeout=END_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
