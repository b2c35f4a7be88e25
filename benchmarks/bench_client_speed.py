"""How many calls a second one process makes, against a server that answers at once: alone, and with the whole audit.

    python -m benchmarks.bench_client_speed [--requests 6000] [--pools 32 64 128]

Alone is the model's client in the pool. Audited is an llm step as Dagster runs it, on SQLite: rows read, prompts
rendered, each request's intent durable before it leaves, each answer durable; from the first request to the last state.
The server has a process of its own. CPU is the client process's, all threads; its inverse is what a processor that
nobody else uses would allow.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Self

from benchmarks.clients.job import Job, Measured
from benchmarks.clients.process import ROOT, run_client
from elspeth_dagster.testing import fake_model_process

GOAL_ALONE_PER_S = 1200
GOAL_AUDITED_PER_S = 600

SAMPLE_S = 0.005
"""How often the worker notes its processor time: small against the seconds that a step takes."""

DECLARATION = """
name: speed
models: {{default: {{model: fake-1, base_url: "{base_url}", api_key_env: null}}}}
source: {{kind: csv, path: in.csv, columns: {{id: int, text: str}}}}
steps:
  judge:
    kind: llm
    from: source
    prompt: "How urgent is this? {{{{ row.text }}}}"
    answer: {{urgency: {{type: int, minimum: 1, maximum: 5}}}}
    pool: {{pool_size: {pool}}}
sinks:
  out: {{kind: csv, from: judge, path: out.csv}}
"""


def main() -> None:
    """Measure both for each pool size, or (in the worker) one audited step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--pools", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(dataclasses.asdict(_measure_step(arguments.worker, arguments.requests))))
        return
    print(f"One process, a server that answers at once, {arguments.requests:,} requests")
    print(f"{'':10}{'pool':>6}{'calls/s':>10}{'goal':>8}{'CPU ms/call':>14}{'calls per CPU second':>23}")
    with fake_model_process() as server:
        for pool in arguments.pools:
            job = Job(
                client="adaptive", base_url=server.base_url, pool_size=pool, requests=arguments.requests
            )
            _show("alone", pool, run_client(dataclasses.replace(job, warm_up=pool)), GOAL_ALONE_PER_S)
        for pool in arguments.pools:
            _show("audited", pool, _run_step(server.base_url, arguments.requests, pool), GOAL_AUDITED_PER_S)


def _show(name: str, pool: int, took: Measured, goal: int) -> None:
    print(
        f"{name:10}{pool:>6}{took.calls_per_s:>10,.0f}{f'>={goal:,}':>8}{took.cpu_ms_per_call:>14.3f}"
        f"{took.answered / took.cpu_s:>23,.0f}" + (f"   {took.lost} lost" if took.lost else "")
    )


def _run_step(base_url: str, rows: int, pool: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "in.csv").write_text("id,text\n" + "".join(f"{i},message number {i}\n" for i in range(rows)))
        (home / "pipeline.yaml").write_text(DECLARATION.format(base_url=base_url, pool=pool))
        told = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.bench_client_speed",
                "--worker", folder, "--requests", str(rows),
            ],
            check=True, capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        return Measured(**json.loads(told.stdout.splitlines()[-1]))


def _measure_step(home: Path, rows: int) -> Measured:
    import dagster as dg  # noqa: PLC0415 - only in the measured process

    from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline  # noqa: PLC0415

    url = f"sqlite:///{home / 'landscape.db'}"
    os.environ["DAGSTER_HOME"] = str(home)
    definitions = build_definitions(
        load_pipeline(home / "pipeline.yaml"), landscape=LandscapeResource(url=url)
    )
    with _CpuNotes() as notes:
        result = definitions.resolve_job_def("speed").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    if not result.success:
        raise SystemExit("the run failed")
    began_s, ended_s, answered = _span(url)
    return Measured(
        answered=answered,
        lost=rows - answered,
        wall_s=ended_s - began_s,
        cpu_s=notes.at(ended_s) - notes.at(began_s),
    )


def _span(url: str) -> tuple[float, float, int]:
    """Unix times of the first request and of the last state, and how many states were completed."""
    from elspeth_dagster.landscape.database import Database  # noqa: PLC0415 - only in the measured process

    database = Database(url)
    try:
        with database.read() as connection:
            began_s, ended_s, completed = connection.exec_driver_sql(
                "SELECT (julianday(min(c.sent_at)) - 2440587.5) * 86400.0,"
                " (julianday(max(s.completed_at)) - 2440587.5) * 86400.0,"
                " count(DISTINCT s.state_id) FILTER (WHERE s.status = 'completed')"
                " FROM node_states s JOIN calls c ON c.state_id = s.state_id WHERE s.node_id = 'judge'"
            ).one()
    finally:
        database.dispose()
    return float(began_s), float(ended_s), int(completed)


class _CpuNotes:
    """Notes now and then how much processor time this process has used, to be looked up by time of day."""

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._cpu_s: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._note, name="cpu-notes")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def at(self, unix_s: float) -> float:
        """What had been used by then, to within a note."""
        index = min(bisect_left(self._times_s, unix_s), len(self._times_s) - 1)
        return self._cpu_s[index]

    def _note(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._times_s.append(time.time())
            self._cpu_s.append(time.process_time())


if __name__ == "__main__":
    main()
