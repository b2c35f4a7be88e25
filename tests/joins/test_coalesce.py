"""A join merges, waits and gives up as its policy says, and records why: on the tokens' states and in its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from elspeth_dagster.landscape.status import finished_status
from elspeth_dagster.model.canonical import canonical_bytes, content_hash
from elspeth_dagster.model.outcome import RunStatus
from tests.joins.injected import CLOCK, step
from tests.noderuns import NodeRuns, node_runs, sink, source_of

PLANS = {"id": "int", "plan": "json"}


@contextmanager
def joined(folder: Path, *plans: Mapping[str, Any], branches: int = 3, **join: Any) -> Iterator[NodeRuns]:
    """A run of `fork -> s0, s1, s2 -> join`, one row for each plan, after all its nodes ran."""
    names = ["a", "b", "c"][:branches]
    rows = [{"id": index, "plan": dict(plan)} for index, plan in enumerate(plans)]
    declaration = {
        "name": "joined",
        "source": source_of(folder, rows, PLANS),
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": names},
            **{f"s{index}": step(index, f"split.{name}") for index, name in enumerate(names)},
            "join": {
                "kind": "coalesce",
                "from": {name: f"s{index}" for index, name in enumerate(names)},
                "max_error_rate": 1.0,
                **join,
            },
        },
        "sinks": {"out": sink("join", name="out")},
    }
    with node_runs(folder, declaration, clock=CLOCK) as run:
        reports = run.run()
        assert all(report.balance.holds for report in reports.values())
        assert run.findings() == []
        yield run


def takes(a: float, b: float, c: float = 0) -> dict[str, Any]:
    return {"s0": {"ms": a}, "s1": {"ms": b}, "s2": {"ms": c}}


def fails(*steps: str) -> dict[str, Any]:
    return {name: {"fail": True} for name in steps}


def test_require_all_merges_every_branch_in_order_of_arrival(tmp_path: Path) -> None:
    plan = {"s0": {"ms": 30, "set": {"x": 1}}, "s1": {"ms": 10, "set": {"y": 2}}, "s2": {"ms": 20}}
    with joined(tmp_path, plan) as run:
        assert run.rows("out") == [{"id": 0, "plan": plan, "x": 1, "y": 2}]
        said = run.contexts("join")["0/a"]
        assert said["policy"] == "require_all"
        assert said["merge_strategy"] == "union"
        assert said["expected_branches"] == ["a", "b", "c"]
        assert said["branches_arrived"] == ["b", "c", "a"]
        assert said["branches_lost"] == {}
        assert [(one["branch"], one["arrival_offset_ms"]) for one in said["arrival_order"]] == [
            ("b", 0),
            ("c", 10),
            ("a", 20),
        ]
        assert said["wait_duration_ms"] == 20
        assert said["field_origins"] == {"id": None, "plan": None, "x": "a", "y": "b"}
        assert said["collisions"] == []
        outcomes = run.outcomes()
        assert {outcomes[f"0/{branch}"] for branch in "abc"} == {("coalesced", None, None)}
        assert outcomes["0/join:join"] == ("completed", "out", None)


def test_the_event_says_what_every_token_says(tmp_path: Path) -> None:
    with joined(tmp_path, takes(1, 2, 3)) as run:
        ((event_id, parent, merged, policy, strategy, metadata),) = run.query(
            "SELECT event_id, parent_token_id, merged_token_id, policy, merge_strategy, metadata_json "
            "FROM coalesce_events"
        )
        assert event_id == f"{parent}&join"
        assert merged == f"{parent}/join:join"
        assert (policy, strategy) == ("require_all", "union")
        contexts = {
            context
            for (context,) in run.query(
                "SELECT context_after_json FROM node_states WHERE node_id = 'join' AND out_port IS NULL"
            )
        }
        assert contexts == {'{"coalesce":' + metadata + "}"}


def test_the_merged_tokens_state_has_the_hash_of_the_merged_row(tmp_path: Path) -> None:
    with joined(tmp_path, takes(3, 2, 1)) as run:
        ((port, before, after, salt),) = run.query(
            "SELECT s.out_port, s.input_hash, s.output_hash, r.salt FROM node_states s JOIN tokens t USING (token_id) "
            "JOIN row_salts r USING (salt_id) WHERE s.token_id LIKE '%/join:join' AND s.node_id = 'join'"
        )
        assert (port, before) == ("out", None)
        assert after == content_hash(salt, canonical_bytes(run.rows("out")[0]))


def test_the_parents_of_the_merged_token_stand_in_order_of_arrival(tmp_path: Path) -> None:
    with joined(tmp_path, takes(3, 2, 1)) as run:
        parents = run.query(
            "SELECT substr(parent_token_id, -1), ordinal FROM token_parents WHERE relation = 'join' ORDER BY ordinal"
        )
        assert parents == [("c", 0), ("b", 1), ("a", 2)]


def test_ties_go_to_the_declared_order(tmp_path: Path) -> None:
    with joined(tmp_path, takes(5, 5, 5)) as run:
        assert run.contexts("join")["0/a"]["branches_arrived"] == ["a", "b", "c"]


def test_require_all_fails_what_it_holds_when_a_branch_is_lost(tmp_path: Path) -> None:
    with joined(tmp_path, fails("s1"), takes(1, 1, 1)) as run:
        outcomes = run.outcomes()
        assert outcomes["0/a"] == outcomes["0/c"] == ("failed", None, "branch_lost")
        assert outcomes["0/b"] == ("failed", None, "step_raised")
        said = run.contexts("join")["0/c"]
        assert said["reason"] == "branch_lost"
        assert said["branches_lost"] == {"b": {"why": "failed", "node": "s1", "code": "step_raised"}}
        assert [row["id"] for row in run.rows("out")] == [1]
        assert run.query("SELECT merged_token_id FROM coalesce_events ORDER BY event_id")[0] == (None,)


def test_a_failed_merge_says_which_branches_were_lost(tmp_path: Path) -> None:
    with joined(tmp_path, fails("s1", "s2")) as run:
        ((error,),) = run.query(
            "SELECT error_json FROM node_states WHERE node_id = 'join' AND status = 'failed'"
        )
        assert '"branches":["b","c"]' in error


def test_a_quorum_merges_the_first_that_arrive_and_refuses_the_rest(tmp_path: Path) -> None:
    with joined(tmp_path, takes(30, 10, 20), policy="quorum", quorum_count=2) as run:
        outcomes = run.outcomes()
        assert outcomes["0/b"] == outcomes["0/c"] == ("coalesced", None, None)
        assert outcomes["0/a"] == ("failed", None, "late_arrival_after_merge")
        said = run.contexts("join")["0/b"]
        assert said["branches_arrived"] == ["b", "c"]
        assert said["branches_lost"]["a"]["why"] == "late"
        assert said["branches_lost"]["a"]["arrival_offset_ms"] == 20
        assert said["wait_duration_ms"] == 10


def test_a_quorum_is_met_in_spite_of_a_loss_and_fails_when_it_cannot_be(tmp_path: Path) -> None:
    with joined(tmp_path, fails("s0"), fails("s0", "s1"), policy="quorum", quorum_count=2) as run:
        outcomes = run.outcomes()
        assert outcomes["0/join:join"] == ("completed", "out", None)
        assert outcomes["1/c"] == ("failed", None, "quorum_not_met")


def test_best_effort_merges_what_arrives(tmp_path: Path) -> None:
    with joined(tmp_path, fails("s0", "s2"), fails("s0", "s1", "s2"), policy="best_effort") as run:
        assert run.contexts("join")["0/b"]["branches_arrived"] == ["b"]
        assert run.outcomes()["0/join:join"] == ("completed", "out", None)
        assert "1/join:join" not in run.outcomes()
        events = run.query(
            "SELECT merged_token_id IS NULL, metadata_json FROM coalesce_events ORDER BY event_id"
        )
        assert events[1][0] == 1
        assert '"reason":"all_branches_lost"' in events[1][1]


def test_first_takes_one_and_the_next_one_if_that_is_lost(tmp_path: Path) -> None:
    slow_fails = {**takes(1, 5, 9), "s0": {"fail": True}}
    with joined(tmp_path, takes(9, 5, 1), slow_fails, fails("s0", "s1", "s2"), policy="first") as run:
        assert run.contexts("join")["0/c"]["branches_arrived"] == ["c"]
        assert run.contexts("join")["1/b"]["branches_arrived"] == ["b"]
        outcomes = run.outcomes()
        assert outcomes["0/a"] == outcomes["0/b"] == ("failed", None, "late_arrival_after_merge")
        assert outcomes["1/c"] == ("failed", None, "late_arrival_after_merge")


@pytest.mark.parametrize(
    ("policy", "held"),
    [
        ({"policy": "require_all"}, ("failed", None, "branch_lost")),
        ({"policy": "best_effort"}, ("coalesced", None, None)),
        ({"policy": "quorum", "quorum_count": 2}, ("coalesced", None, None)),
        ({"policy": "quorum", "quorum_count": 3}, ("failed", None, "quorum_not_met")),
    ],
)
def test_what_comes_after_the_timeout_is_late(
    tmp_path: Path, policy: dict[str, Any], held: tuple[str, None, str | None]
) -> None:
    with joined(tmp_path, takes(1000, 1499.5, 1500.5), timeout_seconds=0.5, **policy) as run:
        outcomes = run.outcomes()
        assert outcomes["0/a"] == outcomes["0/b"] == held
        assert outcomes["0/c"] == ("failed", None, "late_arrival_after_merge")


def test_a_late_token_is_no_failure_of_the_run(tmp_path: Path) -> None:
    plans = [takes(1, 2, 3)] * 30
    with joined(tmp_path, *plans, policy="first", max_error_rate=0.01) as run:
        report = run.run("join")["join"]  # nothing is left to do
        assert report.tally.rows_in == 0
        assert run.query("SELECT sum(rows_failed), sum(rows_in), sum(rows_out) FROM node_executions "
                         "WHERE node_id = 'join'") == [(0, 90, 30)]  # fmt: skip
        assert finished_status(run.database, run.run_id) is RunStatus.COMPLETED


def test_nested_and_select_merge_what_they_say(tmp_path: Path) -> None:
    plan = {"s0": {"set": {"x": 1}}, "s1": {"set": {"x": 2}}, "s2": {"fail": True}}
    (tmp_path / "n").mkdir()
    (tmp_path / "s").mkdir()
    with joined(tmp_path / "n", plan, policy="best_effort", merge="nested") as run:
        (row,) = run.rows("out")
        assert {branch: part["x"] for branch, part in row.items()} == {"a": 1, "b": 2}
    with joined(tmp_path / "s", plan, policy="best_effort", merge="select", select_branch="b") as run:
        assert run.rows("out")[0]["x"] == 2
        assert run.outcomes()["0/a"] == ("coalesced", None, None)


def test_a_selected_branch_that_did_not_arrive_fails_the_merge(tmp_path: Path) -> None:
    select: dict[str, Any] = {"policy": "best_effort", "merge": "select", "select_branch": "c"}
    with joined(tmp_path, fails("s2"), **select) as run:
        assert run.outcomes()["0/a"] == ("failed", None, "select_branch_not_arrived")
        assert run.contexts("join")["0/a"]["reason"] == "select_branch_not_arrived"


@pytest.mark.parametrize(("rule", "value"), [("last_wins", 2), ("first_wins", 1), ("fail", None)])
def test_collisions_are_settled_as_declared(tmp_path: Path, rule: str, value: int | None) -> None:
    plan = {"s0": {"set": {"x": 1}}, "s1": {"set": {"x": 2}}}
    with joined(tmp_path, plan, branches=2, on_collision=rule) as run:
        said = run.contexts("join")["0/a"]
        winner = {1: "a", 2: "b", None: None}[value]
        assert said["collisions"] == [{"field": "x", "branches": ["a", "b"], "winner": winner}]
        if value is None:
            assert run.outcomes()["0/b"] == ("failed", None, "union_collision")
            assert said["reason"] == "union_collision"
        else:
            assert run.rows("out")[0]["x"] == value
            assert said["field_origins"]["x"] == winner


def test_a_field_that_one_branch_changed_is_no_collision_with_the_unchanged_one(tmp_path: Path) -> None:
    with joined(tmp_path, {"s0": {"set": {"id": True}}}, branches=2, on_collision="fail") as run:
        said = run.contexts("join")["0/a"]
        assert run.rows("out")[0]["id"] is True
        assert said["field_origins"]["id"] == "a"
        assert said["collisions"] == []


def test_failed_merges_go_to_the_on_error_sink_and_late_tokens_do_not(tmp_path: Path) -> None:
    folder = tmp_path
    rows = [{"id": 0, "plan": {**fails("s0"), "s1": {"ms": 1}, "s2": {"ms": 9000}}}]
    declaration = {
        "name": "joined",
        "source": source_of(folder, rows, PLANS),
        "steps": {
            "split": {"kind": "fork", "from": "source", "branches": ["a", "b", "c"]},
            "s0": step(0, "split.a"),
            "s1": step(1, "split.b"),
            "s2": step(2, "split.c"),
            "join": {
                "kind": "coalesce",
                "from": {"a": "s0", "b": "s1", "c": "s2"},
                "timeout_seconds": 1,
                "on_error": "bad",
            },
        },
        "sinks": {"out": sink("join", name="out"), "bad": sink(name="bad")},
    }
    with node_runs(folder, declaration, clock=CLOCK) as run:
        run.run()
        assert run.outcomes()["0/b"] == ("routed", "bad", "branch_lost")
        assert run.outcomes()["0/c"] == ("failed", None, "late_arrival_after_merge")
        assert [row["_error"]["code"] for row in run.rows("bad")] == ["branch_lost"]
        assert run.findings() == []
