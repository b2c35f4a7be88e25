"""What the tests of the Landscape are made of: a clock that only moves when told, runs, and records of every kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from elspeth_dagster.landscape import schema
from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import begin_execution
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Cell, Record, Unit, closed, opened, sealed
from elspeth_dagster.landscape.registration import EndOf, NodeRegistration, RunRegistration, register
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.clock import Clock
from elspeth_dagster.model.outcome import RunStatus
from elspeth_dagster.model.row import JSON, Row

RUN_ID = "1f0c9a52-7d3e-4b1a-9c55-0123456789ab"
SALT = bytes(range(16))
NOW = "2026-01-31T09:30:00.000000Z"
IS_TRUE = True


class FakeClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self._moment = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)
        self._monotonic_s = 1000.0

    def now(self) -> dt.datetime:
        return self._moment

    def monotonic(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        self._moment += dt.timedelta(seconds=seconds)
        self._monotonic_s += seconds


# Runs ---------------------------------------------------------------------------------------------------------------


def node(node_id: str, kind: str = "map", **config: JSON) -> NodeRegistration:
    return NodeRegistration(node_id, kind, "deterministic", config, ("id",), ("id",))


NODES = (
    node("source", "csv"),
    node("score", "llm", prompt="How calm?"),
    node("sort", "gate"),
    node("good", "jsonl"),
)
EDGES = (
    ("source", "out", "score"),
    ("score", "out", "sort"),
    ("sort", "urgent", "good"),
    ("sort", "other", "good"),
)
RUN = RunRegistration(
    run_id=RUN_ID,
    dagster_run_id=RUN_ID,
    pipeline="triage",
    partition_key=None,
    parent_run_id=None,
    launched_by="tests",
    spec={"name": "triage"},
    operational={"pool_size": 4},
    versions={"package": "0"},
    host="here",
    pid=1,
    nodes=NODES,
    edges=EDGES,
)


def other_try(run: RunRegistration, dagster_run_id: str) -> RunRegistration:
    """A later Dagster run of the same Landscape run."""
    return replace(run, dagster_run_id=dagster_run_id)


def other_run(run_id: str, **changes: str) -> RunRegistration:
    return replace(RUN, run_id=run_id, dagster_run_id=run_id, **changes)  # type: ignore[arg-type]


def all_alive(_dagster_run_id: str) -> RunStatus | None:
    return None


def ended(**ends: RunStatus) -> EndOf:
    """These Dagster runs have ended; any other may be alive."""
    return ends.get


def all_failed(_dagster_run_id: str) -> RunStatus | None:
    return RunStatus.FAILED


def begun(
    database: Database,
    node_id: str = "source",
    *,
    clock: Clock,
    run: RunRegistration = RUN,
    end_of: EndOf = all_alive,
) -> ExecutionHandle:
    """Register the run and begin an execution of one of its nodes."""
    key = register(database, run, clock=clock, end_of=end_of)
    return begin_execution(database, run, key=key, node_id=node_id, clock=clock, end_of=end_of)


# Rows and what becomes of them --------------------------------------------------------------------------------------


def row_of(index: int) -> Row:
    return {"id": index}


def source_unit(
    handle: ExecutionHandle, indices: Sequence[int], *, port: str | None = "out", source: str = "source"
) -> Unit:
    """What a source records: a salt, a body, a row and its token for each index."""
    unit = Unit()
    for index in indices:
        row_id = ids.row_id(handle.run_key, index)
        body = canonical_bytes(row_of(index))
        digest = content_hash(SALT, body)
        unit.insert("row_salts", (row_id, handle.run_id, SALT))
        unit.insert("payloads", (row_id, digest, body))
        unit.insert(
            "rows", sealed("rows", row_id, handle.run_id, source, index, port, digest, handle.execution_id)
        )
        unit.insert(
            "tokens",
            sealed(
                "tokens", row_id, handle.run_id, row_id, ids.row_order_key(index), None, source, row_id,
                handle.execution_id,
            ),
        )  # fmt: skip
    return unit


def open_state(handle: ExecutionHandle, index: int, *, attempt: int = 1) -> Record:
    """An open visit of the row's token to the handle's node."""
    token_id = ids.row_id(handle.run_key, index)
    return opened(
        ids.state_id(token_id, handle.node_id, attempt), token_id, handle.run_id, handle.node_id, None,
        ids.row_order_key(index), attempt, "open", content_hash(SALT, canonical_bytes(row_of(index))), None, None,
        None, None, None, NOW, None, handle.execution_id,
    )  # fmt: skip


def done_state(
    handle: ExecutionHandle,
    index: int,
    *,
    port: str | None = "out",
    output: bytes | None = None,
    status: str = "completed",
    error: Mapping[str, JSON] | None = None,
    attempt: int = 1,
) -> Record:
    """A finished visit; the row goes on as it came, unless ``output`` is the hash of another body."""
    state = open_state(handle, index, attempt=attempt)
    handed_on = content_hash(SALT, canonical_bytes(row_of(index))) if output is None else output
    return closed(
        "node_states",
        state,
        status=status,
        out_port=port,
        output_hash=handed_on if status == "completed" else None,
        duration_ms=1.5,
        error_json=None if error is None else canonical_bytes(dict(error)).decode(),
        completed_at=NOW,
    )


def open_call(handle: ExecutionHandle, state: Record, call_index: int, *, request: bytes = b"ask") -> Record:
    state_id = str(state[0])
    return opened(
        ids.call_id(state_id, call_index), state_id, call_index, "answer", call_index + 1, None, "chat", "openai",
        "fake", None, "open", None, content_hash(SALT, request), None, None, None, None, None, None, None, None,
        NOW, None, handle.execution_id,
    )  # fmt: skip


def outcome(handle: ExecutionHandle, index: int, word: str = "completed") -> Record:
    token_id = ids.row_id(handle.run_key, index)
    return sealed(
        "token_outcomes", ids.outcome_id(token_id, word), handle.run_id, token_id, word, word != "buffered",
        handle.node_id, None, None, NOW, handle.execution_id,
    )  # fmt: skip


# One record of every kind -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Specimen:
    """One record as a mapping, to be changed and stored by name."""

    table: sa.Table
    cells: Mapping[str, Cell]

    @property
    def key(self) -> tuple[sa.ColumnElement[bool], ...]:
        return tuple(column == self.cells[column.name] for column in self.table.primary_key.columns)

    def changed(self, **changes: Cell) -> dict[str, Cell]:
        return {**self.cells, **changes}


def specimens(*, are_open: bool = False) -> dict[str, Specimen]:
    """One record of each evidence table, in an order in which they can be stored; ``are_open``: not closed yet."""
    digest = content_hash(SALT, b"{}")
    handle = ExecutionHandle("1f0c9a52/score", RUN_ID, "1f0c9a52", "score", 1, "triage", None, RUN_ID, NOW)
    token_id = ids.row_id("1f0c9a52", 0)
    attempt = opened(RUN_ID, RUN_ID, 1, "running", "here", 1, "{}", NOW, None, None, None)
    execution = opened(
        handle.execution_id, RUN_ID, "score", 1, RUN_ID, "open", None, None, None, None, None, None, None, None, NOW,
        None,
    )  # fmt: skip
    state = open_state(handle, 0)
    call = open_call(handle, state, 0)
    batch = opened(
        "1f0c9a52/score#0", RUN_ID, "score", 0, None, "1f0c9a52/score#0", "count", "executing", 1, None, 0.5, None, NOW,
        None, handle.execution_id,
    )  # fmt: skip
    if not are_open:
        attempt = closed("run_attempts", attempt, status="completed", ended_at=NOW)
        execution = closed("node_executions", execution, status="completed", rows_in=1, completed_at=NOW)
        state = done_state(handle, 0)
        call = closed("calls", call, status="answered", cost_usd=0.5, latency_ms=3, answered_at=NOW)
        batch = closed("batches", batch, status="completed", output_count=1, completed_at=NOW)
    records: dict[str, Record] = {
        "runs": sealed(
            "runs", RUN_ID, "1f0c9a52", "triage", None, None, "{}", digest, "{}", None, NOW
        ),
        "run_attempts": attempt,
        "nodes": sealed("nodes", RUN_ID, "score", "llm", "external", "{}", digest, 0, None, None),
        "edges": sealed("edges", RUN_ID, "score", "out", "score"),
        "node_executions": execution,
        "rows": sealed("rows", token_id, RUN_ID, "score", 0, "out", digest, handle.execution_id),
        "tokens": sealed(
            "tokens", token_id, RUN_ID, token_id, ids.row_order_key(0), None, "score", token_id, handle.execution_id
        ),
        "token_parents": sealed("token_parents", token_id, token_id, 0, "fork", handle.execution_id),
        "node_states": state,
        "calls": call,
        "routing_events": sealed("routing_events", state[0], state[0], "out", "x > 1", IS_TRUE, handle.execution_id),
        "coalesce_events": sealed(
            "coalesce_events", f"{token_id}&score", RUN_ID, "score", token_id, token_id, "require_all", "union", "{}",
            handle.execution_id,
        ),
        "batches": batch,
        "batch_members": sealed("batch_members", batch[0], 0, token_id, handle.execution_id),
        "batch_outputs": sealed("batch_outputs", batch[0], 0, token_id, handle.execution_id),
        "token_outcomes": outcome(handle, 0),
        "validation_errors": sealed(
            "validation_errors", f"{token_id}?0", RUN_ID, token_id, "id", "int", "text", "wrong_type",
            handle.execution_id,
        ),
        "artifacts": sealed(
            "artifacts", "artifact", RUN_ID, "score", "out.csv", digest, 10, 1, NOW, handle.execution_id
        ),
        "seals": sealed("seals", RUN_ID, 1, handle.execution_id, None, digest, "{}", "[]", NOW),
    }  # fmt: skip
    tables = schema.metadata.tables
    return {
        name: Specimen(tables[name], dict(zip(tables[name].columns.keys(), record, strict=True)))
        for name, record in records.items()
    }


def stored_specimens(
    database: Database, *, are_open: bool = False, before: str | None = None
) -> dict[str, Specimen]:
    """Store the specimens, or those that come before one table; returns all of them."""
    made = specimens(are_open=are_open)
    with database.write() as connection:
        for name, specimen in made.items():
            if name == before:
                break
            unit = Unit()
            unit.insert(name, tuple(specimen.cells.values()))
            store(connection, unit)
    return made


def count_of(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(
            connection.execute(
                sa.select(sa.func.count()).select_from(schema.metadata.tables[table])
            ).scalar_one()
        )
