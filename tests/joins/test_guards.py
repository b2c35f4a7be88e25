"""What the graph makes impossible stops the join loudly all the same, and a join that was broken off goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.errors import NodeStoppedError
from elspeth_dagster.landscape.database import Database
from elspeth_dagster.landscape.handle import ExecutionHandle
from elspeth_dagster.landscape.records import Unit, sealed
from elspeth_dagster.landscape.writer import LandscapeWriter
from elspeth_dagster.model import ids
from elspeth_dagster.nodes.fork import ForkConfig
from elspeth_dagster.runtime import coalesce_run, join_metadata, join_records
from tests.joins.injected import CLOCK, step
from tests.noderuns import NodeRuns, node_runs, sink, source_of

BEFORE = ("source", "split", "s0", "s1")


def joined(folder: Path, rows: int = 3, **join: Any) -> dict[str, Any]:
    plans = [{"id": index, "plan": {"s1": {"ms": index % 3}, "s0": {"ms": 1}}} for index in range(rows)]
    return {
        "name": "joined",
        "source": source_of(folder, plans, {"id": "int", "plan": "json"}),
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["a", "b"]},
            "s0": step(0, "split.a"),
            "s1": step(1, "split.b"),
            "join": {"kind": "coalesce", "from": {"a": "s0", "b": "s1"}, **join},
        },
        "sinks": {"out": sink("join", name="out")},
    }


def smuggle(run: NodeRuns, token_id: str, *, branch: str | None, key: bytes, node_id: str = "s0") -> None:
    """Put a token at a node's output that no node has made."""
    (row_id, salt_id, row_hash), *_ = run.query(
        "SELECT t.row_id, t.salt_id, s.output_hash FROM node_states s JOIN tokens t USING (token_id) "
        "WHERE s.node_id = 's0' ORDER BY s.order_key"
    )
    (execution_id,) = run.query("SELECT execution_id FROM fences WHERE node_id = :node", node=node_id)[0]
    handle = ExecutionHandle(
        execution_id, run.run_id, "11112222", node_id, 1, "joined", None, run.run_id, "2026-01-01"
    )
    unit = Unit()
    unit.insert(
        "tokens",
        sealed("tokens", token_id, run.run_id, row_id, key, branch, "split", salt_id, execution_id),
    )
    unit.insert(
        "node_states",
        sealed(
            "node_states", f"{token_id}@{node_id}", token_id, run.run_id, node_id, "out", key, 1, "completed",
            row_hash, row_hash, None, None, 0.0, None, "2026", "2026", execution_id,
        ),
    )  # fmt: skip
    _write(run.database, handle, unit)


def _write(database: Database, handle: ExecutionHandle, unit: Unit) -> None:
    writer = LandscapeWriter(database, clock=CLOCK)
    try:
        writer.write(handle, unit)
    finally:
        writer.close()


def test_the_same_branch_arriving_twice_stops_the_join(tmp_path: Path) -> None:
    with node_runs(tmp_path, joined(tmp_path), clock=CLOCK) as run:
        run.run(*BEFORE)
        smuggle(run, "intruder", branch="a", key=ids.row_order_key(0) + b"\x05")
        with pytest.raises(NodeStoppedError) as stopped:
            run.run("join")
        assert stopped.value.reason == "branch_arrived_twice"
        assert "Branch 'a' of 11112222-000000000 arrived twice" in str(stopped.value)
        assert "intruder" in str(stopped.value)
        assert run.query("SELECT count(*) FROM coalesce_events") == [(0,)]


@pytest.mark.parametrize(
    ("branch", "key", "said"),
    [
        (None, ids.row_order_key(0) + b"\x05", "came from 's0' on no branch"),
        ("b", ids.row_order_key(0) + b"\x05", "came from 's0' on branch 'b'"),
        ("a", b"\x00", "came from 's0' on branch 'a'"),
        ("a", ids.row_order_key(77), "came from 's0' on branch 'a'"),
    ],
)
def test_a_token_that_belongs_to_no_fork_stops_the_join(
    tmp_path: Path, branch: str | None, key: bytes, said: str
) -> None:
    with node_runs(tmp_path, joined(tmp_path), clock=CLOCK) as run:
        run.run(*BEFORE)
        smuggle(run, "intruder", branch=branch, key=key)
        with pytest.raises(NodeStoppedError) as stopped:
            run.run("join")
        assert stopped.value.reason == "no_branch"
        assert said in str(stopped.value)


@pytest.mark.parametrize("policy", ["require_all", "first"])
def test_a_join_waits_for_every_step_of_its_branches(tmp_path: Path, policy: str) -> None:
    with node_runs(tmp_path, joined(tmp_path, policy=policy), clock=CLOCK) as run:
        run.run("source", "split", "s0")
        with pytest.raises(NodeStoppedError) as stopped:
            run.run("join")
        assert stopped.value.reason == "branch_not_ended"
        assert "Branch 'b' has not ended: token 11112222-000000000/b still waits for 's1'." in str(
            stopped.value
        )
        run.run("s1", "join", "out")
        assert len(run.rows("out")) == 3
        assert run.findings() == []


def test_a_branch_without_a_trace_stops_the_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with node_runs(tmp_path, joined(tmp_path), clock=CLOCK) as run:
        run.run("source")
        monkeypatch.setattr(ForkConfig, "ports", lambda _config: ("a",))
        run.run("split")
        monkeypatch.undo()
        run.run("s0", "s1")
        with pytest.raises(NodeStoppedError) as stopped:
            run.run("join")
        assert stopped.value.reason == "branch_vanished"
        assert "Branch 'b' has no trace: token 11112222-000000000/b was not found." in str(stopped.value)


@pytest.mark.parametrize(("failing", "reason"), [(9, None), (16, "error_rate_exceeded")])
def test_a_join_whose_merges_mostly_fail_stops(tmp_path: Path, failing: int, reason: str | None) -> None:
    declaration = joined(tmp_path, 30)
    rows = [
        {"id": index, "plan": {"s0": {"fail": index < failing, "ms": 1}, "s1": {"ms": 1}}}
        for index in range(30)
    ]
    declaration["source"] = source_of(tmp_path, rows, {"id": "int", "plan": "json"})
    declaration["steps"]["s0"]["max_error_rate"] = 1.0
    with node_runs(tmp_path, declaration, clock=CLOCK) as run:
        run.run(*BEFORE)
        if reason is None:
            assert run.run("join")["join"].tally.rows_failed == failing
            return
        with pytest.raises(NodeStoppedError) as stopped:
            run.run("join")
        assert stopped.value.reason == reason
        assert "16 of 30 rows failed, most with 'branch_lost' (16)" in str(stopped.value)


def test_a_join_that_was_broken_off_goes_on_and_decides_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coalesce_run, "PAGE_TOKENS", 12)
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    with node_runs(tmp_path / "whole", joined(tmp_path / "whole", 40, policy="first"), clock=CLOCK) as run:
        run.run()
        expected, rows = run.contexts("join"), run.rows("out")
    with node_runs(tmp_path / "broken", joined(tmp_path / "broken", 40, policy="first"), clock=CLOCK) as run:
        run.run(*BEFORE)
        with monkeypatch.context() as broken:
            broken.setattr(join_records, "decision_metadata", _fails_after(17))
            with pytest.raises(ZeroDivisionError):
                run.run("join")
        assert 0 < len(run.contexts("join")) < 80
        run.run("join", "out")
        assert run.contexts("join") == expected
        assert run.rows("out") == rows
        assert len(rows) == 40
        assert run.findings() == []


def _fails_after(decisions: int) -> Any:
    left = iter(range(decisions))
    real = join_metadata.decision_metadata

    def decide(*args: Any) -> Any:
        if next(left, None) is None:
            raise ZeroDivisionError("killed")
        return real(*args)

    return decide


def test_joining_again_changes_nothing(tmp_path: Path) -> None:
    with node_runs(tmp_path, joined(tmp_path), clock=CLOCK) as run:
        run.run()
        tables = ("tokens", "token_parents", "node_states", "token_outcomes", "coalesce_events")
        before = [run.query(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608 - our own names
        assert run.run("join")["join"].tally.rows_in == 0
        assert [run.query(f"SELECT count(*) FROM {table}") for table in tables] == before  # noqa: S608
