"""A run made by hand in which every row is forked in two, joined again, and gathered into one batch.

source -> views (fork) -> mood, urgency -> judged (coalesce) -> totals (aggregate) -> out. A row in ``lost`` loses its
branch `urgency`, which failed; the join takes what arrived. Nothing here runs a node: it is what nodes would have
recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from elspeth_dagster.landscape.commit import store
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.executions import ended_execution
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Cell, Record, Unit, sealed
from elspeth_dagster.landscape.registration import RunRegistration
from elspeth_dagster.model import ids
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import ExecutionStatus
from elspeth_dagster.model.row import JSON, Row
from tests.landscape.material import NOW, RUN, SALT, FakeClock, begun, node, row_of, source_unit

IS_TERMINAL = True
FAMILY_RUN = replace(
    RUN,
    nodes=(
        node("source", "csv", path="in.csv"),
        node("views", "fork"),
        node("mood", "llm"),
        node("urgency", "llm"),
        node("judged", "coalesce"),
        node("totals", "aggregate"),
        node("out", "jsonl"),
    ),
    edges=(
        ("source", "out", "views"),
        ("views", "mood", "mood"),
        ("views", "urgency", "urgency"),
        ("mood", "out", "judged"),
        ("urgency", "out", "judged"),
        ("judged", "out", "totals"),
        ("totals", "out", "out"),
    ),
)
BRANCHES = ("mood", "urgency")


@dataclass
class Family:
    """What was made: handles of the executions by node, and the key of the run."""

    database: Database
    run: RunRegistration
    handles: dict[str, ExecutionHandle]
    key: str
    unit: Unit = field(default_factory=Unit)

    def row_id(self, index: int) -> str:
        return ids.row_id(self.key, index)

    def merged_id(self, index: int) -> str:
        return f"{self.row_id(index)}/join:judged"

    @property
    def batch_id(self) -> str:
        return f"{self.key}/totals#0"

    @property
    def output_id(self) -> str:
        return f"{self.batch_id}/0"

    # Records ---------------------------------------------------------------------------------------------------------

    def body(self, salt_id: str, row: JSON) -> bytes:
        """Keep a body under a salt; returns its hash."""
        body = canonical_bytes(row)
        digest = content_hash(SALT, body)
        self.unit.insert("payloads", (salt_id, digest, body))
        return digest

    def token(self, token_id: str, *, node_id: str, index: int | None, order: bytes, **more: str) -> None:
        row_id = None if index is None else self.row_id(index)
        self.unit.insert(
            "tokens",
            sealed(
                "tokens", token_id, self.run.run_id, row_id, order, more.get("branch"), node_id,
                more.get("salt_id", row_id), self.handles[node_id].execution_id,
            ),
        )  # fmt: skip

    def parent(self, token_id: str, parent_id: str, ordinal: int, relation: str, node_id: str) -> None:
        execution_id = self.handles[node_id].execution_id
        record = sealed("token_parents", token_id, parent_id, ordinal, relation, execution_id)
        self.unit.insert("token_parents", record)

    def state(
        self,
        token_id: str,
        node_id: str,
        order: bytes,
        *,
        before: bytes | None,
        after: bytes | None,
        port: str | None = "out",
        context: Mapping[str, JSON] | None = None,
        error: Mapping[str, JSON] | None = None,
    ) -> None:
        def text(value: Mapping[str, JSON] | None) -> str | None:
            return None if value is None else canonical_bytes(dict(value)).decode()

        cells: tuple[Cell, ...] = (
            ids.state_id(token_id, node_id, 1), token_id, self.run.run_id, node_id, port, order, 1,
            "completed" if error is None else "failed", before, after, None, text(context), 5.0, text(error), NOW, NOW,
            self.handles[node_id].execution_id,
        )  # fmt: skip
        self.unit.insert("node_states", sealed("node_states", *cells))

    def outcome(self, token_id: str, word: str, node_id: str, *, code: str | None = None) -> None:
        record: Record = sealed(
            "token_outcomes", ids.outcome_id(token_id, word), self.run.run_id, token_id, word, IS_TERMINAL, node_id,
            "out" if word == "completed" else None, code, NOW, self.handles[node_id].execution_id,
        )  # fmt: skip
        self.unit.insert("token_outcomes", record)

    def store(self) -> None:
        with self.database.write() as connection:
            store(connection, self.unit)
        self.unit = Unit()


def make_family(
    database: Database,
    rows: int,
    *,
    lost: Collection[int] = (),
    clock: FakeClock | None = None,
    run: RunRegistration = FAMILY_RUN,
    is_finished: bool = True,
) -> Family:
    """A finished run of ``rows`` rows; see above."""
    clock = clock or FakeClock()
    handles = {one.node_id: begun(database, one.node_id, clock=clock, run=run) for one in run.nodes}
    family = Family(database, run, handles, handles["source"].run_key)
    family.unit.absorb(source_unit(handles["source"], range(rows)))
    for index in range(rows):
        _fork(family, index)
        _join(family, index, is_lost=index in lost)
    _gather(family, rows)
    if is_finished:
        for handle in handles.values():
            family.unit.close("node_executions", _ended(handle, rows))
    family.store()
    return family


def _ended(handle: ExecutionHandle, rows: int) -> Record:
    return ended_execution(
        handle, ExecutionStatus.COMPLETED, rows_in=rows, rows_out=rows, rows_failed=0, rows_reused=0, pool_stats=None,
        usage=None, metrics={"by_port": {"out": rows}}, error=None, now=NOW,
    )  # fmt: skip


def _order(index: int, *more: int) -> bytes:
    return ids.row_order_key(index) + bytes(more)


def _fork(family: Family, index: int) -> None:
    row_id = family.row_id(index)
    row_hash = content_hash(SALT, canonical_bytes(row_of(index)))
    family.state(row_id, "views", _order(index), before=row_hash, after=row_hash, port=None)
    family.outcome(row_id, "forked", "views")
    for at, branch in enumerate(BRANCHES):
        child, order = f"{row_id}/{branch}", _order(index, at)
        family.token(child, node_id="views", index=index, order=order, branch=branch)
        family.parent(child, row_id, 0, "fork", "views")
        family.state(child, "views", order, before=row_hash, after=row_hash, port=branch)


def _join(family: Family, index: int, *, is_lost: bool) -> None:
    row_id, row_hash = family.row_id(index), content_hash(SALT, canonical_bytes(row_of(index)))
    judged: dict[str, Row] = {"mood": {"mood": "calm"}, "urgency": {"urgency": 3}}
    arrived = [branch for branch in BRANCHES if not (is_lost and branch == "urgency")]
    order: list[JSON] = [
        {"branch": branch, "token_id": f"{row_id}/{branch}", "arrival_offset_ms": 12.5 * at}
        for at, branch in enumerate(arrived)
    ]
    lost: dict[str, JSON] = (
        {"urgency": {"why": "failed", "node": "urgency", "code": "invalid_json"}} if is_lost else {}
    )
    metadata: dict[str, JSON] = {
        "policy": "best_effort", "merge_strategy": "union", "expected_branches": list(BRANCHES),
        "branches_arrived": list(arrived), "branches_lost": lost, "arrival_order": order,
        "wait_duration_ms": 12.5 * (len(arrived) - 1), "field_origins": {branch: branch for branch in arrived},
        "collisions": [],
    }  # fmt: skip
    whole: Row = dict(row_of(index))
    for at, branch in enumerate(BRANCHES):
        child, key = f"{row_id}/{branch}", _order(index, at)
        if branch not in arrived:
            error: dict[str, JSON] = {"code": "invalid_json"}
            family.state(child, branch, key, before=row_hash, after=None, port=None, error=error)
            family.outcome(child, "failed", branch, code="invalid_json")
            continue
        whole |= judged[branch]
        after = family.body(row_id, {**row_of(index), **judged[branch]})
        family.state(child, branch, key, before=row_hash, after=after)
        family.state(
            child, "judged", key, before=after, after=None, port=None, context={"coalesce": metadata}
        )
        family.outcome(child, "coalesced", "judged")
    merged, key = family.merged_id(index), _order(index, 9)
    family.token(merged, node_id="judged", index=index, order=key)
    for at, branch in enumerate(arrived):
        family.parent(merged, f"{row_id}/{branch}", at, "join", "judged")
    digest = family.body(row_id, whole)
    family.state(merged, "judged", key, before=None, after=digest, context={"coalesce": metadata})
    family.unit.insert(
        "coalesce_events",
        sealed(
            "coalesce_events", f"{row_id}&judged", family.run.run_id, "judged", row_id, merged, "best_effort", "union",
            canonical_bytes(metadata).decode(), family.handles["judged"].execution_id,
        ),
    )  # fmt: skip
    context: dict[str, JSON] = {"batch": {"batch_id": family.batch_id, "ordinal": index}}
    family.state(merged, "totals", key, before=digest, after=None, port=None, context=context)
    family.outcome(merged, "consumed_in_batch", "totals")


def _gather(family: Family, rows: int) -> None:
    batch_id, execution_id = family.batch_id, family.handles["totals"].execution_id
    family.unit.insert("row_salts", (batch_id, family.run.run_id, SALT))
    family.unit.insert(
        "batches",
        sealed(
            "batches", batch_id, family.run.run_id, "totals", 0, None, batch_id, "end_of_source", "completed", rows, 1,
            2.5, None, NOW, NOW, execution_id,
        ),
    )  # fmt: skip
    for index in range(rows):
        member = sealed("batch_members", batch_id, index, family.merged_id(index), execution_id)
        family.unit.insert("batch_members", member)
    order = _order(rows - 1, 9, 0)
    family.token(family.output_id, node_id="totals", index=None, order=order, salt_id=batch_id)
    for index in range(rows):
        family.parent(family.output_id, family.merged_id(index), index, "batch", "totals")
    output = sealed("batch_outputs", batch_id, 0, family.output_id, execution_id)
    family.unit.insert("batch_outputs", output)
    digest = family.body(batch_id, {"count": rows})
    family.state(family.output_id, "totals", order, before=None, after=digest)
    family.state(family.output_id, "out", order, before=digest, after=digest, port=None)
    family.outcome(family.output_id, "completed", "out")
