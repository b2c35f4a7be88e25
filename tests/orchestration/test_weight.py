"""A code location loads quickly: what only a run needs, the run imports. Times are the processor's, best of some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

IMPORT_S_MAX = 0.15
DAGSTER_S = 0.5
"""What importing Dagster takes on a machine that does nothing else."""

DEFINITIONS_S_MAX = 3.0
TRIES = 3
PIPELINES = 20


def best_of(code: str) -> float:
    return min(figures(code)[0] for _ in range(TRIES))


def figures(code: str) -> tuple[float, ...]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return tuple(float(figure) for figure in done.stdout.splitlines()[-1].split())


def test_the_component_costs_little_beyond_dagster() -> None:
    """Every public name is imported. What Python's collector does with Dagster's objects meanwhile is not counted.

    Where others share the processor's caches, importing Dagster takes longer, too: then as much more is allowed.
    """
    code = (
        "import gc, time\nbegan = time.process_time()\n"
        "import dagster, dagster.components\nfrom dagster.components.utils import translation\n"
        "dagsters = time.process_time() - began\ngc.collect(); gc.freeze()\n"
        "began = time.process_time()\nfrom elspeth_dagster import *\n"
        "print(time.process_time() - began, dagsters)"
    )
    tries = [figures(code) for _ in range(TRIES)]
    assert any(ours <= IMPORT_S_MAX * max(1.0, dagsters / DAGSTER_S) for ours, dagsters in tries), tries


def test_a_location_loads_without_what_only_a_run_needs() -> None:
    code = (
        "import sys\nfrom elspeth_dagster import *\n"
        "heavy = {'openai', 'pandas', 'alembic', 'aiohttp', 'pyarrow', 'sqlalchemy', 'jinja2'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _declaration(number: int) -> dict[str, Any]:
    """Twenty nodes: a source, sixteen steps in a row, a gate, two sinks."""
    steps: dict[str, Any] = {}
    before = "source"
    for index in range(16):
        steps[f"step_{index}"] = {"kind": "map", "from": before, "set": {f"x{index}": "row.id + 1"}}
        if index % 4 == 0:
            steps[f"step_{index}"] = {
                "kind": "llm",
                "from": before,
                "prompt": "How? {{ row.text }}",
                "answer": {f"m{index}": {"enum": ["a", "b"]}},
            }
        before = f"step_{index}"
    steps["gate"] = {"kind": "gate", "from": before, "routes": {"a": "row.m0 == 'a'"}, "otherwise": "b"}
    return {
        "name": f"pipeline_{number}",
        "models": {"default": {"model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": None}},
        "source": {"kind": "csv", "path": "in.csv", "columns": {"id": "int", "text": "str"}},
        "steps": steps,
        "sinks": {
            name: {"kind": "csv", "from": f"gate.{name}", "path": f"{name}.csv"} for name in ("a", "b")
        },
    }


def test_twenty_pipelines_of_twenty_nodes_load_in_three_seconds(tmp_path: Path) -> None:
    for number in range(PIPELINES):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(_declaration(number)))
    seconds = best_of(
        "import time, dagster as dg\n"
        "from elspeth_dagster.orchestration.build import pipeline_definitions, shared_definitions\n"
        "from elspeth_dagster import load_pipeline\n"
        "began = time.process_time()\n"
        f"files = [f'{tmp_path}/{{number}}.yaml' for number in range({PIPELINES})]\n"
        "parts = [pipeline_definitions(load_pipeline(file)) for file in files]\n"
        "defs = dg.Definitions.merge(*parts, shared_definitions())\n"
        "defs.get_repository_def().load_all_definitions()\n"
        "print(time.process_time() - began)"
    )
    assert seconds <= DEFINITIONS_S_MAX
