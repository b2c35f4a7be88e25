"""What the honest run is made of: its graph, tokens that carry rows, and executions that record what they did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import begin_execution, ended_execution
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Record, Unit, closed, opened, sealed
from elspeth_dagster.landscape.registration import RunRegistration, close_attempt, register
from elspeth_dagster.landscape.seals import Seal, end_sealed
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import ExecutionStatus, RunStatus
from elspeth_dagster.model.row import JSON
from tests.landscape.material import NOW, FakeClock, all_failed, node

RUN_ID = "0123abcd-honest"
SECOND = "89ef4567-resumed"
KEY = RUN_ID[:8]
RUN = RunRegistration(
    run_id=RUN_ID,
    dagster_run_id=RUN_ID,
    pipeline="honest",
    partition_key="2026-01",
    parent_run_id="an-earlier-run",
    launched_by="tests",
    spec={"name": "honest"},
    operational={"judge": {"pool": {"pool_size": 2}}},
    versions={"package": "0"},
    host="here",
    pid=1,
    nodes=(
        node("source", "csv"),
        node("split", "fork", branches=["left", "right"]),
        node("judge", "llm", prompt="How calm?"),
        node("tidy", "map"),
        node("joined", "coalesce", policy="require_all"),
        node("triage", "gate", routes={"urgent": "row.mood == 'angry'"}),
        node("pairs", "aggregate", trigger={"count": 2}),
        node("items", "expand", field="moods"),
        node("urgent", "jsonl"),
        node("totals", "jsonl"),
        node("failures", "jsonl"),
        node("bad", "jsonl"),
    ),
    edges=(
        ("source", "out", "split"),
        ("source", "invalid", "bad"),
        ("split", "left", "judge"),
        ("split", "right", "tidy"),
        ("judge", "out", "joined"),
        ("judge", "error", "failures"),
        ("tidy", "out", "joined"),
        ("joined", "out", "triage"),
        ("triage", "urgent", "urgent"),
        ("triage", "normal", "pairs"),
        ("pairs", "out", "items"),
        ("items", "out", "totals"),
    ),
)


@dataclass(frozen=True)
class Tok:
    """A token as it travels: who it is, and the row that it carries."""

    token_id: str
    row_id: str | None
    order_key: bytes
    salt_id: str
    row: Mapping[str, JSON]

    @property
    def salt(self) -> bytes:
        return hashlib.sha256(self.salt_id.encode()).digest()[:16]

    @property
    def body(self) -> bytes:
        return canonical_bytes(dict(self.row))

    @property
    def digest(self) -> bytes:
        return content_hash(self.salt, self.body)


class At:
    """One execution of one node: what it records about each token."""

    def __init__(self, handle: ExecutionHandle) -> None:
        self.handle = handle
        self.unit = Unit()

    def insert(self, table: str, *cells: Any) -> None:
        self.unit.insert(table, sealed(table, *cells, self.handle.execution_id))

    def keep(self, token: Tok, body: bytes) -> bytes:
        digest = content_hash(token.salt, body)
        self.unit.insert("payloads", (token.salt_id, digest, body))
        return digest

    def open_state(self, token: Tok, *, attempt: int = 1) -> Record:
        handle = self.handle
        return opened(
            ids.state_id(token.token_id, handle.node_id, attempt), token.token_id, handle.run_id, handle.node_id, None,
            token.order_key, attempt, "open", token.digest, None, None, None, None, None, NOW, None,
            handle.execution_id,
        )  # fmt: skip

    def state(
        self,
        token: Tok,
        *,
        port: str | None,
        out: Tok | None = None,
        is_made: bool = False,
        error: Mapping[str, JSON] | None = None,
        context: Mapping[str, JSON] | None = None,
        attempt: int = 1,
    ) -> str:
        """A finished visit; ``out`` is what it hands on, None for nothing; ``is_made``: this node made the token."""
        changes: dict[str, Any] = {
            "status": "completed" if error is None else "failed",
            "out_port": port,
            "duration_ms": 1.5,
            "completed_at": NOW,
        }
        if out is not None:
            changes["output_hash"] = self.keep(out, out.body)
        if is_made:
            changes["input_hash"] = None
        if error is not None:
            detail = self.keep(token, b'{"message":"what the provider said"}')
            changes["error_json"] = as_json({**error, "detail_hash": detail.hex()})
        if context is not None:
            changes["context_after_json"] = as_json(context)
        record = closed("node_states", self.open_state(token, attempt=attempt), **changes)
        self.unit.insert("node_states", record)
        return str(record[0])

    def make(
        self, token: Tok, parents: Sequence[Tok], relation: str, *, port: str, branch: str | None
    ) -> None:
        handle = self.handle
        self.insert(
            "tokens",
            token.token_id,
            handle.run_id,
            token.row_id,
            token.order_key,
            branch,
            handle.node_id,
            token.salt_id,
        )
        for ordinal, parent in enumerate(parents):
            self.insert("token_parents", token.token_id, parent.token_id, ordinal, relation)
        self.state(token, port=port, out=token, is_made=True)

    def end(self, token: Tok, outcome: str, *, sink: str | None = None, code: str | None = None) -> None:
        handle, is_terminal = self.handle, True
        self.insert(
            "token_outcomes", ids.outcome_id(token.token_id, outcome), handle.run_id, token.token_id, outcome,
            is_terminal, handle.node_id, sink, code, NOW,
        )  # fmt: skip

    def open_call(self, state: Record, token: Tok, index: int, *, try_no: int = 1) -> Record:
        request = self.keep(token, canonical_bytes({"ask": token.token_id}))
        state_id = str(state[0])
        return opened(
            ids.call_id(state_id, index), state_id, index, "answer", try_no, None, "chat_completion", "openai", "fake",
            None, "open", None, request, None, b"t" * 32, b"v" * 32, None, None, None, None, None, NOW, None,
            self.handle.execution_id,
        )  # fmt: skip

    def answered(self, call: Record, token: Tok, *, reused_from: str | None = None) -> Record:
        response = self.keep(token, canonical_bytes({"said": token.token_id}))
        return closed(
            "calls", call, status="answered", reused_from=reused_from, model_answered="fake-1", http_status=200,
            response_hash=response, prompt_tokens=5, completion_tokens=7, cost_usd=0.25, latency_ms=3, answered_at=NOW,
        )  # fmt: skip


class HonestRun:
    """Makes the run, node after node."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = FakeClock()
        self.seals: list[tuple[str, str, Seal]] = []  # Dagster run, node, seal
        self.run = RUN
        self._writer = LandscapeWriter(database, clock=self.clock)

    def close(self) -> None:
        self._writer.close()

    def begin(self, node_id: str) -> At:
        key = register(self.database, self.run, clock=self.clock, end_of=all_failed)
        return At(
            begin_execution(
                self.database, self.run, key=key, node_id=node_id, clock=self.clock, end_of=all_failed
            )
        )

    def store(self, at: At) -> None:
        self._writer.write(at.handle, at.unit)
        at.unit = Unit()

    @contextmanager
    def at(self, node_id: str, *, pool: Mapping[str, JSON] | None = None) -> Iterator[At]:
        """One whole execution."""
        at = self.begin(node_id)
        yield at
        self.store(at)
        end = ended_execution(
            at.handle, ExecutionStatus.COMPLETED, rows_in=1, rows_out=1, rows_failed=0, rows_reused=0, pool_stats=pool,
            usage={"calls": {}}, metrics={"seconds": 0.5}, error=None, now=NOW,
        )  # fmt: skip
        seal = end_sealed(self.database, self._writer, at.handle, end=end, now=NOW)
        self.seals.append((at.handle.dagster_run_id, node_id, seal))
        self.clock.advance(1)

    def close_attempt(self, status: RunStatus) -> None:
        close_attempt(
            self.database, run_id=RUN_ID, dagster_run_id=self.run.dagster_run_id, status=status, reason="tests",
            counts={"completed": 1}, clock=self.clock,
        )  # fmt: skip

    def go_on(self) -> None:
        """The first Dagster run has died: a second one continues."""
        self.close_attempt(RunStatus.FAILED)
        self.run = replace(self.run, dagster_run_id=SECOND)


def as_json(value: Mapping[str, JSON]) -> str:
    return canonical_bytes(json.loads(json.dumps(dict(value)))).decode()
