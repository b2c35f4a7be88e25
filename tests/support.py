"""Run a real pipeline through a real Dagster on a real Landscape, and look at what it left behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
import yaml
from dagster._core.definitions.reconstruct import build_reconstructable_job

from elspeth_dagster.landscape.database import Database

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Project:
    """A folder with a declaration, its Dagster home and its Landscape."""

    folder: Path
    landscape_url: str
    dagster_url: str | None = None
    """Dagster's own storage on PostgreSQL; SQLite in its home where there is none."""

    @property
    def declaration(self) -> Path:
        """The latest one: each gets a file of its own, since Dagster remembers a job by what it was loaded from."""
        return self.folder / f"pipeline_{len(list(self.folder.glob('pipeline_*.yaml')))}.yaml"

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"

    def declare(self, declaration: Mapping[str, Any]) -> None:
        number = len(list(self.folder.glob("pipeline_*.yaml"))) + 1
        text = yaml.safe_dump(dict(declaration), sort_keys=False)
        (self.folder / f"pipeline_{number}.yaml").write_text(text)

    def instance(self) -> dg.DagsterInstance:
        self.dagster_home.mkdir(exist_ok=True)
        settings: dict[str, Any] = {"telemetry": {"enabled": False}}
        if self.dagster_url is not None:
            settings["storage"] = {"postgres": {"postgres_url": self.dagster_url}}
        (self.dagster_home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        return dg.DagsterInstance.from_config(str(self.dagster_home))

    def run(
        self,
        *,
        limit: int | None = None,
        resume: str | None = None,
        select: Sequence[dg.AssetKey] | None = None,
        partition: str | None = None,
    ) -> dg.JobExecutionResult:
        """Launch the pipeline, or the assets of ``select``; ``resume`` names the Dagster run to go on from."""
        config = dict(QUIET)
        if limit is not None:
            name = yaml.safe_load(self.declaration.read_text())["name"]
            config["ops"] = {f"{name}__source": {"config": {"limit": limit}}}
        job = build_reconstructable_job(
            "elspeth_dagster.orchestration.build",
            "job_of_file",
            reconstructable_kwargs={"path": str(self.declaration), "landscape_url": self.landscape_url},
        )
        options, tags = None, {} if partition is None else {"dagster/partition": partition}
        with self.instance() as instance:
            if resume is not None:
                options = dg.ReexecutionOptions.from_failure(resume, instance)
                tags |= {"dagster/is_resume_retry": "true"}
            return dg.execute_job(
                job,
                instance=instance,
                run_config=config,
                tags=tags,
                raise_on_error=False,
                reexecution_options=options,
                asset_selection=select,
            )

    def query(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        database = Database(self.landscape_url)
        try:
            with database.read() as connection:
                return [tuple(row) for row in connection.execute(sa.text(sql), parameters)]
        finally:
            database.dispose()

    def csv(self, path: str) -> list[dict[str, str]]:
        with (self.folder / path).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def jsonl(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / path).read_text("utf-8").splitlines()]

    def spawn(self, code: str) -> subprocess.Popen[bytes]:
        """A process of its own that runs ``code`` with this project as ``project``."""
        program = (
            "from pathlib import Path\nfrom tests.support import Project\n"
            f"project = Project(Path({str(self.folder)!r}), {self.landscape_url!r}, {self.dagster_url!r})\n{code}\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def model_at(base_url: str, **more: Any) -> dict[str, Any]:
    return {"provider": "openai", "model": "fake", "base_url": base_url, "api_key_env": None, **more}


def mood_pipeline(base_url: str, **llm: Any) -> dict[str, Any]:
    """source -> judge (llm) -> triage (gate) -> two sinks, and one for failures."""
    return {
        "name": "moods",
        "models": {"default": model_at(base_url)},
        "source": {
            "kind": "csv",
            "path": "in.csv",
            "columns": {"id": "int", "text": "str"},
            "on_invalid": "bad",
        },
        "steps": {
            "judge": {
                "kind": "llm",
                "from": "source",
                "prompt": "How does the writer feel? {{ row.text }}",
                "answer": {"mood": {"enum": ["calm", "angry"]}},
                "pool": {"pool_size": 8},
                "on_error": "failures",
                **llm,
            },
            "triage": {
                "kind": "gate",
                "from": "judge",
                "routes": {"angry": "row.mood == 'angry'"},
                "otherwise": "rest",
            },
        },
        "sinks": {
            "angry": {"kind": "csv", "from": "triage.angry", "path": "out/angry.csv"},
            "rest": {"kind": "jsonl", "from": "triage.rest", "path": "out/rest.jsonl"},
            "failures": {"kind": "jsonl", "path": "out/failures.jsonl"},
            "bad": {"kind": "jsonl", "path": "out/bad.jsonl"},
        },
    }
