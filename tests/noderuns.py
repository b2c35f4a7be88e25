"""Run a pipeline node by node on a real Landscape, without Dagster: fast enough for hundreds of whole runs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.runs import find_run
from elspeth_dagster.landscape.verify import verify_run
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model.clock import Clock, SystemClock
from elspeth_dagster.pipeline import Pipeline
from elspeth_dagster.pipeline.load import pipeline_from
from elspeth_dagster.runtime.interrupt import Stop
from elspeth_dagster.runtime.node_report import NodeReport
from elspeth_dagster.runtime.node_run import Engine, RunIdentity, run_node
from elspeth_dagster.runtime.work import Model

RUN_ID = "11112222-run"


@dataclass
class StepClock:
    """Time that moves only when somebody says so: what a step takes is what the test wants it to take."""

    seconds: float = 0.0
    began: dt.datetime = field(default_factory=lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC))

    def now(self) -> dt.datetime:
        return self.began + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def pass_ms(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1000


@dataclass
class NodeRuns:
    """One run of one pipeline, whose nodes the test starts."""

    pipeline: Pipeline
    database: Database
    clock: Clock = field(default_factory=SystemClock)
    run_id: str = RUN_ID
    attempt: int = 1

    def run(self, *node_ids: str) -> dict[str, NodeReport]:
        """Run these nodes, or all, in order."""
        writer = LandscapeWriter(self.database, clock=self.clock)
        engine = Engine(
            database=self.database,
            writer=writer,
            clock=self.clock,
            stop=Stop(),
            model_of=_no_model,
            end_of=lambda _run: None,
        )
        try:
            chosen = node_ids or tuple(self.pipeline.nodes)
            return {
                name: run_node(self.pipeline, name, run=self._identity(), engine=engine) for name in chosen
            }
        finally:
            writer.close()

    def _identity(self) -> RunIdentity:
        return RunIdentity(
            run_id=self.run_id,
            dagster_run_id=self.run_id,
            partition_key=None,
            parent_run_id=None,
            launched_by=None,
            versions={},
            host="test",
            pid=1,
        )

    def query(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), parameters)]

    def outcomes(self) -> dict[str, tuple[str, str | None, str | None]]:
        """Token, without the run's key: outcome, sink, error code."""
        found = self.query("SELECT token_id, outcome, sink, error_code FROM token_outcomes")
        return {short(token): (outcome, sink, code) for token, outcome, sink, code in found}

    def contexts(self, node_id: str) -> dict[str, Any]:
        """Token: what its state at the node says of the join."""
        found = self.query(
            "SELECT token_id, context_after_json FROM node_states WHERE node_id = :node AND context_after_json "
            "IS NOT NULL",
            node=node_id,
        )
        return {short(token): json.loads(context)["coalesce"] for token, context in found}

    def rows(self, sink: str) -> list[dict[str, Any]]:
        """What a jsonl sink of the declaration wrote."""
        path = self.pipeline.home.base / f"{sink}.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def findings(self) -> list[str]:
        """What `verify` says, less the pools of nobody."""
        run = find_run(self.database, self.run_id)
        report = verify_run(self.database, run, now=dt.datetime.now(dt.UTC))
        return [f"{one.table} {one.key}: {one.what}" for check in report.checks for one in check.findings]


def short(token_id: str) -> str:
    """`3/left` of `11112222-000000003/left`."""
    row, slash, path = token_id.partition("/")
    return f"{int(row.rpartition('-')[2])}{slash}{path}"


@contextmanager
def node_runs(
    folder: Path, declaration: Mapping[str, Any], *, clock: Clock | None = None, url: str | None = None
) -> Iterator[NodeRuns]:
    """A run of ``declaration`` on a Landscape of its own: in ``folder``, or the empty one at ``url``."""
    database = Database(url or f"sqlite:///{folder / 'landscape.db'}")
    database.ensure_schema()
    try:
        pipeline = pipeline_from(declaration, base=folder, root=folder)
        yield NodeRuns(pipeline, database, clock or SystemClock())
    finally:
        database.dispose()


def source_of(folder: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> dict[str, Any]:
    """A jsonl source with these rows."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "in.jsonl").write_text(text, encoding="utf-8")
    return {"kind": "jsonl", "path": "in.jsonl", "columns": dict(columns)}


def sink(*ports: str, name: str) -> dict[str, Any]:
    """A jsonl sink, fed by these ports or by an `on_error`."""
    fed = {"from": list(ports)} if ports else {}
    return {"kind": "jsonl", **fed, "path": f"{name}.jsonl"}


def _no_model(name: str) -> Model:
    raise AssertionError(f"no test here asks the model {name!r}")
