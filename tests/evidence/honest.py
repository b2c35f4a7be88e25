"""One honest run, made by hand, in which everything happens once: a record of every kind, and every way to end.

    source --out--> split --left--> judge --out--> joined --out--> triage --urgent--> urgent
       |              |               |              |               +---normal----> pairs --> items --> totals
       |              +----right--> tidy ----------> +
       |                              +---error---> failures
       +--invalid--> bad

Row 1 is urgent, rows 0, 2 and 3 are normal and make two batches, row 4 is invalid, and row 5 fails at `judge`, so that
its other branch fails at the join. The first execution of `judge` dies in the middle; a second Dagster run goes on.
"""

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
INVALID, LOST, URGENT = 4, 5, 1
VALID = (0, 1, 2, 3, 5)


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
            changes["error_json"] = _json({**error, "detail_hash": detail.hex()})
        if context is not None:
            changes["context_after_json"] = _json(context)
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


def honest_run(database: Database, folder: Path) -> HonestRun:
    """Make the whole run; its sinks' files are in ``folder``."""
    making = HonestRun(database, folder)
    try:
        roots = _source(making)
        left, right = _split(making, roots)
        judged = _judge(making, left)
        tidied = _tidy(making, right)
        merged = _join(making, roots, judged, tidied)
        _triage(making, merged)
        made = _items(making, _pairs(making, [merged[0], merged[2], merged[3]]))
        _sink(making, "urgent", [merged[URGENT]], "routed")
        _sink(making, "totals", made, "completed")
        _sink(making, "failures", [left[LOST]], "routed", code="content_filtered")
        _sink(making, "bad", [roots[INVALID]], "quarantined", code="wrong_type")
        making.close_attempt(RunStatus.COMPLETED_WITH_FAILURES)
    finally:
        making.close()
    return making


def _source(making: HonestRun) -> dict[int, Tok]:
    roots: dict[int, Tok] = {}
    with making.at("source") as at:
        for index in range(6):
            row_id = ids.row_id(KEY, index)
            token = Tok(row_id, row_id, ids.row_order_key(index), row_id, {"id": index})
            roots[index] = token
            at.unit.insert("row_salts", (row_id, RUN_ID, token.salt))
            digest = at.keep(token, token.body)
            port = "invalid" if index == INVALID else "out"
            at.insert("rows", row_id, RUN_ID, "source", index, port, digest)
            at.insert("tokens", row_id, RUN_ID, row_id, token.order_key, None, "source", row_id)
        bad = ids.row_id(KEY, INVALID)
        at.insert("validation_errors", f"{bad}?0", RUN_ID, bad, "id", "int", "str", "wrong_type")
    return roots


def _split(making: HonestRun, roots: Mapping[int, Tok]) -> tuple[dict[int, Tok], dict[int, Tok]]:
    branches: dict[str, dict[int, Tok]] = {"left": {}, "right": {}}
    with making.at("split") as at:
        for index in VALID:
            parent = roots[index]
            at.state(parent, port=None)
            at.end(parent, "forked")
            for number, (branch, made) in enumerate(branches.items()):
                made[index] = replace(
                    parent,
                    token_id=ids.branch_token_id(parent.token_id, branch),
                    order_key=ids.branch_order_key(parent.order_key, number),
                )
                at.make(made[index], [parent], "fork", port=branch, branch=branch)
    return branches["left"], branches["right"]


def _judge(making: HonestRun, left: Mapping[int, Tok]) -> dict[int, Tok]:
    first = making.begin("judge")
    for index in (0, 2):
        state = first.open_state(left[index])
        call = first.open_call(state, left[index], 0)
        first.unit.insert("node_states", state)
        first.unit.insert("calls", first.answered(call, left[index]) if index == 0 else call)
    making.store(first)
    making.go_on()
    pool: dict[str, JSON] = {
        "pool_config": {
            "pool_size": 2,
            "max_capacity_retry_seconds": 60,
            "dispatch_delay_at_completion_ms": 0,
        },
        "pool_stats": {"successes": 4, "max_concurrent_reached": 2},
    }
    judged: dict[int, Tok] = {}
    with making.at("judge", pool=pool) as at:
        for index in VALID:
            mood = "angry" if index == URGENT else "calm"
            judged[index] = replace(left[index], row={**left[index].row, "mood": mood})
            _judge_one(at, left[index], judged[index], index)
    return judged


def _judge_one(at: At, token: Tok, judged: Tok, index: int) -> None:
    attempt = 2 if index in {0, 2} else 1
    state = at.open_state(token, attempt=attempt)
    call = at.open_call(state, token, 0)
    if index == 0:  # its answer was paid for before the first execution died
        earlier = ids.call_id(ids.state_id(token.token_id, "judge", 1), 0)
        at.unit.insert("calls", at.answered(call, token, reused_from=earlier))
        at.state(token, port="out", out=judged, attempt=attempt)
        return
    order = {1: (0, 1), 2: (1, 0), 3: (2, 2), LOST: (3, 3)}[index]
    context: dict[str, JSON] = {
        "pool": {
            "submit_index": order[0],
            "complete_index": order[1],
            "buffer_wait_ms": 0.5,
            "submit_offset_ms": 10.0 * order[0],
            "complete_offset_ms": 15.0 + 10.0 * order[1],
        }
    }
    at.unit.insert("calls", at.answered(call, token))
    if index == LOST:
        at.state(token, port="error", error={"code": "content_filtered"}, context=context, attempt=attempt)
    else:
        at.state(token, port="out", out=judged, context=context, attempt=attempt)


def _tidy(making: HonestRun, right: Mapping[int, Tok]) -> dict[int, Tok]:
    tidied = {index: replace(token, row={**token.row, "tidy": True}) for index, token in right.items()}
    with making.at("tidy") as at:
        for index, token in right.items():
            at.state(token, port="out", out=tidied[index])
    return tidied


def _join(
    making: HonestRun, roots: Mapping[int, Tok], judged: Mapping[int, Tok], tidied: Mapping[int, Tok]
) -> dict[int, Tok]:
    merged: dict[int, Tok] = {}
    with making.at("joined") as at:
        for index in VALID:
            parent = roots[index]
            held = (
                {"right": tidied[index]} if index == LOST else {"right": tidied[index], "left": judged[index]}
            )
            context = {"coalesce": joined_metadata(held)}
            event = ids.coalesce_event_id(parent.token_id, "joined")
            merged_id: str | None = None
            if index == LOST:
                at.state(held["right"], port=None, error={"code": "branch_lost"}, context=context)
                at.end(held["right"], "failed", code="branch_lost")
            else:
                token = replace(
                    parent,
                    token_id=ids.merged_token_id(parent.token_id, "joined"),
                    order_key=ids.merged_order_key(parent.order_key, 0),
                    row={**judged[index].row, **tidied[index].row},
                )
                merged_id, merged[index] = token.token_id, token
                at.make(token, list(held.values()), "join", port="out", branch=None)
                for one in held.values():
                    at.state(one, port=None, context=context)
                    at.end(one, "coalesced")
            at.insert(
                "coalesce_events", event, RUN_ID, "joined", parent.token_id, merged_id, "require_all", "union",
                _json(joined_metadata(held)),
            )  # fmt: skip
    return merged


def joined_metadata(held: Mapping[str, Tok]) -> dict[str, JSON]:
    lost = [branch for branch in ("left", "right") if branch not in held]
    metadata: dict[str, JSON] = {
        "policy": "require_all",
        "merge_strategy": "union",
        "expected_branches": ["left", "right"],
        "branches_arrived": list(held),
        "branches_lost": {branch: {"code": "content_filtered", "node": "judge"} for branch in lost},
        "arrival_order": [
            {"branch": branch, "token_id": token.token_id, "arrival_offset_ms": 2.0 * place}
            for place, (branch, token) in enumerate(held.items())
        ],
        "wait_duration_ms": 2.0 * (len(held) - 1),
    }
    return metadata if not lost else {**metadata, "failure": "branch_lost"}


def _triage(making: HonestRun, merged: Mapping[int, Tok]) -> None:
    with making.at("triage") as at:
        for index, token in merged.items():
            port = "urgent" if index == URGENT else "normal"
            state_id = at.state(token, port=port, out=token)
            expression = "row.mood == 'angry'" if index == URGENT else None
            at.insert("routing_events", state_id, state_id, port, expression, expression is not None)


def _pairs(making: HonestRun, normal: Sequence[Tok]) -> list[Tok]:
    outputs = []
    with making.at("pairs") as at:
        for index, (members, trigger) in enumerate(((normal[:2], "count"), (normal[2:], "end_of_source"))):
            batch_id = f"{KEY}/pairs#{index}"
            output = Tok(
                f"{batch_id}/0",
                None,
                ids.item_order_key(members[-1].order_key, 0),
                batch_id,
                {"moods": [index, index]},
            )
            group_hash = at.keep(output, b'{"mood":"calm"}')
            at.unit.insert("row_salts", (batch_id, RUN_ID, output.salt))
            batch = opened(
                batch_id, RUN_ID, "pairs", index, group_hash, batch_id, trigger, "executing", len(members), None, 0.5,
                None, NOW, None, at.handle.execution_id,
            )  # fmt: skip
            at.unit.insert(
                "batches", closed("batches", batch, status="completed", output_count=1, completed_at=NOW)
            )
            for ordinal, token in enumerate(members):
                at.insert("batch_members", batch_id, ordinal, token.token_id)
                at.state(token, port=None, context={"batch": {"batch_id": batch_id, "ordinal": ordinal}})
                at.end(token, "consumed_in_batch")
            at.make(output, members, "batch", port="out", branch=None)
            at.insert("batch_outputs", batch_id, 0, output.token_id)
            outputs.append(output)
    return outputs


def _items(making: HonestRun, batches: Sequence[Tok]) -> list[Tok]:
    items = []
    with making.at("items") as at:
        for parent in batches:
            at.state(parent, port=None)
            at.end(parent, "expanded")
            for number in range(2):
                item = replace(
                    parent,
                    token_id=ids.item_token_id(parent.token_id, number),
                    order_key=ids.item_order_key(parent.order_key, number),
                    row={"mood": number, "item_index": number},
                )
                at.make(item, [parent], "expand", port="out", branch=None)
                items.append(item)
    return items


def _sink(
    making: HonestRun, name: str, tokens: Sequence[Tok], outcome: str, *, code: str | None = None
) -> None:
    content = b"".join(token.body + b"\n" for token in tokens)
    path = making.folder / f"{name}.jsonl"
    path.write_bytes(content)
    with making.at(name) as at:
        for token in tokens:
            at.state(token, port=None)
            at.end(token, outcome, sink=name, code=code)
        at.insert(
            "artifacts", f"{at.handle.execution_id}=", RUN_ID, name, path.as_uri(), hashlib.sha256(content).digest(),
            len(content), len(tokens), NOW,
        )  # fmt: skip


def _json(value: Mapping[str, JSON]) -> str:
    return canonical_bytes(json.loads(json.dumps(dict(value)))).decode()
