"""Audited rows per second: csv -> map -> gate -> csv on SQLite, through Dagster, with every record that a real run has.

    python benchmarks/audited_rows.py [--rows 100000]

Prints the wall time of the nodes, rows per second, the process's peak memory at a tenth of the rows and at all of them
(it must not grow with rows), and beside it what the same machine needs, in the same minute, to put the same number of
records into SQLite with plain executemany.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

DECLARATION = """
name: throughput
source: {kind: csv, path: in.csv, columns: {id: int, text: str, amount: float, country: str}}
steps:
  sized: {kind: map, from: source, set: {size: row.text | length, doubled: row.amount * 2}}
  triage: {kind: gate, from: sized, routes: {large: row.amount > 100 and row.country == "NZ"}, otherwise: rest}
sinks:
  large: {kind: csv, from: triage.large, path: out/large.csv}
  rest: {kind: csv, from: triage.rest, path: out/rest.csv}
"""


@dataclass(frozen=True)
class Measured:
    """What one run took; ``nodes`` are seconds by node."""

    wall_s: float
    nodes: dict[str, float]
    records: int
    bytes: int
    peak_mib: float


def main() -> None:
    """Run the pipeline in processes of their own, small then large, and the bare inserts beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(dataclasses.asdict(_measure(arguments.worker))))
        return
    small, large = _run(arguments.rows // 10), _run(arguments.rows)
    bare_s = _bare_inserts(large.records)
    per_row = large.records / arguments.rows
    print(f"csv -> map -> gate -> csv, {arguments.rows:,} rows, full audit on SQLite")
    print(
        f"  rows per second     {arguments.rows / large.wall_s:>12,.0f}   (nodes' wall {large.wall_s:.1f} s)"
    )
    print(f"  records             {large.records:>12,}   ({per_row:.1f} a row)")
    print(
        f"  bare executemany    {large.records / bare_s:>12,.0f}   records/s, same number of records of like size"
    )
    print(
        f"  audited records/s   {large.records / large.wall_s:>12,.0f}   ({bare_s / large.wall_s:.2f} of bare)"
    )
    print(f"  database            {large.bytes / arguments.rows:>12,.0f}   bytes a row")
    print(
        f"  peak memory         {large.peak_mib:>12,.0f}   MiB ({small.peak_mib:.0f} MiB at a tenth of the rows)"
    )
    for name, seconds in large.nodes.items():
        print(f"    {name:<10} {seconds:6.2f} s")


def _run(rows: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write_input(home / "in.csv", rows)
        (home / "pipeline.yaml").write_text(DECLARATION)
        out = subprocess.run(
            [sys.executable, __file__, "--worker", folder], check=True, capture_output=True, text=True
        )
        return Measured(**json.loads(out.stdout.splitlines()[-1]))


def _write_input(path: Path, rows: int) -> None:
    chance = random.Random(7)  # noqa: S311 - a benchmark's input
    words = [
        "my",
        "card",
        "has",
        "not",
        "arrived",
        "the",
        "transfer",
        "of",
        "last",
        "week",
        "is",
        "pending",
        "please",
    ]
    with path.open("w") as file:
        file.write("id,text,amount,country\n")
        for index in range(rows):
            text = " ".join(chance.choices(words, k=12))
            file.write(
                f"{index},{text},{chance.lognormvariate(4, 1):.2f},{chance.choice(('NZ', 'AU', 'DE'))}\n"
            )


def _measure(folder: Path) -> Measured:
    import dagster as dg  # noqa: PLC0415 - only in the measured process

    from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline  # noqa: PLC0415

    path = folder / "landscape.db"
    pipeline = load_pipeline(folder / "pipeline.yaml")
    definitions = build_definitions(pipeline, landscape=LandscapeResource(url=f"sqlite:///{path}"))
    os.environ["DAGSTER_HOME"] = str(folder)
    result = definitions.resolve_job_def("throughput").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    connection = sqlite3.connect(path)
    nodes = dict(
        connection.execute(
            "SELECT node_id, json_extract(metrics_json, '$.seconds') FROM node_executions"
        ).fetchall()
    )
    tables = ("rows", "tokens", "row_salts", "payloads", "node_states", "routing_events", "token_outcomes")
    records = sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608
    connection.close()
    if not result.success:
        raise SystemExit("the run failed")
    return Measured(
        wall_s=sum(nodes.values()),
        nodes=nodes,
        records=records,
        bytes=path.stat().st_size,
        peak_mib=_peak_mib(),
    )


def _peak_mib() -> float:
    import resource  # noqa: PLC0415

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bare_inserts(records: int) -> float:
    """Insert as many records, half of them wide with an index, as fast as the driver goes."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        for pragma in ("page_size=16384", "journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE evidence (id TEXT PRIMARY KEY, a TEXT, b TEXT, h BLOB, k BLOB)")
        began = time.perf_counter()
        for start in range(0, records, 3_000):
            batch = [
                (
                    f"abcdef12-{i:09d}@node",
                    "x" * 60,
                    '{"a":1,"b":"some text of a record"}',
                    b"h" * 32,
                    b"k" * 32,
                )
                for i in range(start, min(start + 3_000, records))
            ]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO evidence VALUES (?, ?, ?, ?, ?)", batch)
            connection.execute("COMMIT")
        seconds = time.perf_counter() - began
        connection.close()
        return seconds


if __name__ == "__main__":
    main()
