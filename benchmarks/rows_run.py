"""The measured process of `audited_rows`: one run of its pipeline, counted from outside."""

from __future__ import annotations

import datetime as dt
import os
import random
import resource
import time
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DECLARATION: Final = """
name: throughput
source: {kind: csv, path: in.csv, columns: {id: int, text: str, amount: float, country: str}}
steps:
  sized: {kind: map, from: source, set: {size: row.text | length, doubled: row.amount * 2}}
  triage: {kind: gate, from: sized, routes: {large: row.amount > 100 and row.country == "NZ"}, otherwise: rest}
sinks:
  large: {kind: csv, from: triage.large, path: out/large.csv}
  rest: {kind: csv, from: triage.rest, path: out/rest.csv}
"""
WORDS: Final = (
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
)
RECORDS: Final = (
    "rows",
    "tokens",
    "row_salts",
    "payloads",
    "node_states",
    "routing_events",
    "token_outcomes",
)
"""The tables that get records for each row."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took. ``nodes`` have ``node_id, seconds, rows, statements, transactions``."""

    database: str
    wall_s: float
    cpu_s: float
    nodes: list[dict[str, Any]]
    records: int
    size_bytes: int
    peak_mib: float
    verify_s: float
    findings: int


def write_pipeline(home: Path, rows: int) -> None:
    """A declaration and its input, the same for the same number of rows."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "pipeline.yaml").write_text(DECLARATION)
    chance = random.Random(7)  # noqa: S311 - a benchmark's input
    with (home / "in.csv").open("w") as file:
        file.write("id,text,amount,country\n")
        for index in range(rows):
            text = " ".join(chance.choices(WORDS, k=12))
            file.write(
                f"{index},{text},{chance.lognormvariate(4, 1):.2f},{chance.choice(('NZ', 'AU', 'DE'))}\n"
            )


def measure(home: Path, url: str) -> Measured:
    """Run the pipeline in ``home`` through Dagster, then verify the run."""
    import dagster as dg  # noqa: PLC0415 - only in the measured process

    from elspeth_dagster import LandscapeResource, build_definitions, load_pipeline  # noqa: PLC0415

    os.environ["DAGSTER_HOME"] = str(home)
    definitions = build_definitions(
        load_pipeline(home / "pipeline.yaml"), landscape=LandscapeResource(url=url)
    )
    job = definitions.resolve_job_def("throughput")
    notes = _Notes()
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
    if not result.success:
        raise SystemExit("the run failed")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return _counted(url, notes, wall_s=wall_s, cpu_s=cpu_s, peak_mib=peak_mib)


def _counted(url: str, notes: _Notes, *, wall_s: float, cpu_s: float, peak_mib: float) -> Measured:
    from elspeth_dagster.landscape.database import Database  # noqa: PLC0415 - only in the measured process
    from elspeth_dagster.landscape.runs import find_run  # noqa: PLC0415
    from elspeth_dagster.landscape.verify import verify_run  # noqa: PLC0415

    database = Database(url)
    try:
        with database.read() as connection:
            counts = [
                connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608
                for name in RECORDS
            ]
            size = "pg_database_size(current_database())"
            if database.dialect == "sqlite":
                size = "page_count * page_size FROM pragma_page_count, pragma_page_size"
            run_id = connection.exec_driver_sql("SELECT run_id FROM runs").scalar_one()
            size_bytes = connection.exec_driver_sql(f"SELECT {size}").scalar_one()
            found = connection.exec_driver_sql(
                "SELECT node_id, started_at, completed_at, rows_in FROM node_executions ORDER BY started_at"
            ).all()
        nodes = [notes.of_node(*execution) for execution in found]
        began_s = time.perf_counter()
        report = verify_run(database, find_run(database, run_id), now=dt.datetime.now(dt.UTC))
        verify_s = time.perf_counter() - began_s
    finally:
        database.dispose()
    return Measured(
        database=database.dialect,
        wall_s=wall_s,
        cpu_s=cpu_s,
        nodes=nodes,
        records=sum(counts),
        size_bytes=size_bytes,
        peak_mib=peak_mib,
        verify_s=verify_s,
        findings=sum(len(check.findings) for check in report.checks),
    )


class _Notes:
    """The times of day of every statement and commit of this process, told apart by node afterwards."""

    def __init__(self) -> None:
        import sqlalchemy as sa  # noqa: PLC0415 - only in the measured process

        self._statements_s, self._commits_s = array("d"), array("d")
        sa.event.listen(sa.Engine, "before_cursor_execute", self._statement)
        sa.event.listen(sa.Engine, "commit", self._commit)

    def of_node(self, node_id: str, started_at: str, completed_at: str, rows: int) -> dict[str, Any]:
        """What was sent while the node ran. A statement may carry a page of records."""
        began_s, ended_s = (dt.datetime.fromisoformat(at).timestamp() for at in (started_at, completed_at))
        return {
            "node_id": node_id,
            "seconds": ended_s - began_s,
            "rows": rows,
            "statements": _between(self._statements_s, began_s, ended_s),
            "transactions": _between(self._commits_s, began_s, ended_s),
        }

    def _statement(self, *_: object) -> None:
        self._statements_s.append(time.time())

    def _commit(self, _connection: object) -> None:
        self._commits_s.append(time.time())


def _between(times_s: array[float], began_s: float, ended_s: float) -> int:
    return bisect_right(times_s, ended_s) - bisect_left(times_s, began_s)
