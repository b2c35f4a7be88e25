"""One audited llm step against its ideal: 100 rows, one query each, 50 ms latency, a pool of 20.

    python benchmarks/llm_step.py [--rows 100] [--latency-ms 50] [--pool 20] [--repeat 5]

The ideal is rows / pool * latency: what the pool would take if nothing but the model cost time. The step is the whole
node: reading the rows from the Landscape, rendering, intents made durable before each request, answers, states.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import dagster as dg

from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.testing import FakeModelSettings, fake_model_process

DECLARATION = """
name: bench
models: {{default: {{model: fake, base_url: "{base_url}", api_key_env: null}}}}
source: {{kind: csv, path: in.csv, columns: {{id: int, text: str}}}}
steps:
  judge:
    kind: llm
    from: source
    prompt: "How urgent is this? {{{{ row.text }}}}"
    answer: {{urgency: {{type: int, minimum: 1, maximum: 5}}}}
    pool: {{pool_size: {pool}, throttle: {throttle}}}
sinks:
  out: {{kind: csv, from: judge, path: out.csv}}
"""


def main() -> None:
    """Measure several times and print the median beside the ideal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--pool", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    ideal_s = arguments.rows / arguments.pool * arguments.latency_ms / 1000
    print(
        f"{arguments.rows} rows x 1 query, {arguments.latency_ms:g} ms, pool of {arguments.pool}: ideal {ideal_s:.3f} s"
    )
    settings = FakeModelSettings(latency_ms=arguments.latency_ms)
    for throttle in ("adaptive", "fixed"):
        walls, peaks = [], []
        for _ in range(arguments.repeat):
            with fake_model_process(settings) as server:
                walls.append(_run(server.base_url, arguments.rows, arguments.pool, throttle))
                peaks.append(server.stats().peak_in_flight)
        ratios = sorted(wall / ideal_s for wall in walls)
        print(
            f"  throttle {throttle:<9} wall {median(walls):.3f} s = {median(ratios):.2f} x ideal "
            f"(best {ratios[0]:.2f}, worst {ratios[-1]:.2f}), peak in flight at the server {max(peaks)}"
        )


def _run(base_url: str, rows: int, pool: int, throttle: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "in.csv").write_text("id,text\n" + "".join(f"{i},message number {i}\n" for i in range(rows)))
        (home / "pipeline.yaml").write_text(
            DECLARATION.format(base_url=base_url, pool=pool, throttle=throttle)
        )
        url = f"sqlite:///{home / 'landscape.db'}"
        definitions = build_definitions(
            load_pipeline(home / "pipeline.yaml"), landscape=LandscapeResource(url=url)
        )
        definitions.resolve_job_def("bench").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        return _seconds_of_step(url)


def _seconds_of_step(url: str) -> float:
    """From the first request's intent to the last state: the step, without the client's one-off start-up."""
    database = Database(url)
    try:
        with database.read() as connection:
            seconds = connection.exec_driver_sql(
                "SELECT (julianday(max(s.completed_at)) - julianday(min(c.sent_at))) * 86400.0 "
                "FROM node_states s JOIN calls c ON c.state_id = s.state_id WHERE s.node_id = 'judge'"
            ).scalar_one()
    finally:
        database.dispose()
    return float(seconds)


if __name__ == "__main__":
    main()
