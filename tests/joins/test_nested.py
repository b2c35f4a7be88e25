"""Joins inside branches and behind each other, gates on branches: arrivals add up, and what is lost is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.joins.injected import CLOCK, step
from tests.noderuns import NodeRuns, node_runs, sink, source_of

PLANS = {"id": "int", "plan": "json"}


def fork(*branches: str, of: str) -> dict[str, Any]:
    return {"kind": "fork", "from": of, "branches": list(branches)}


def coalesce(branches: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "coalesce", "from": branches, "max_error_rate": 1.0, **more}


def nested(folder: Path, *plans: dict[str, Any], inner: Any = None, outer: Any = None) -> dict[str, Any]:
    """`source -> f1 -> a: s0 -> f2 -> (c: s1, d: s2) -> inner -> s3; b: s4 -> outer -> out`."""
    rows = [{"id": index, "plan": plan} for index, plan in enumerate(plans)]
    return {
        "name": "nested",
        "source": source_of(folder, rows, PLANS),
        "steps": {
            "f1": fork("a", "b", of="source"),
            "s0": step(0, "f1.a"),
            "f2": fork("c", "d", of="s0"),
            "s1": step(1, "f2.c"),
            "s2": step(2, "f2.d"),
            "inner": coalesce({"c": "s1", "d": "s2"}, **(inner or {})),
            "s3": step(3, "inner"),
            "s4": step(4, "f1.b"),
            "outer": coalesce({"a": "s3", "b": "s4"}, **(outer or {})),
        },
        "sinks": {"out": sink("outer", name="out")},
    }


def whole(run: NodeRuns) -> None:
    assert all(report.balance.holds for report in run.run().values())
    assert run.findings() == []


def test_an_outer_join_counts_the_inner_ones_deciding_arrival(tmp_path: Path) -> None:
    plan = {f"s{index}": {"ms": ms} for index, ms in enumerate([100, 20, 30, 5, 140])}
    with node_runs(tmp_path, nested(tmp_path, plan), clock=CLOCK) as run:
        whole(run)
        # s0 took 100, the slower of s1 and s2 took 30, s3 took 5: 135 ms, before the 140 of s4.
        order = run.contexts("outer")["0/b"]["arrival_order"]
        assert [(one["branch"], one["arrival_offset_ms"]) for one in order] == [("a", 0), ("b", 5)]
        assert run.outcomes()["0/a/join:inner"] == ("coalesced", None, None)
        assert run.outcomes()["0/join:outer"] == ("completed", "out", None)


def test_an_inner_quorum_is_as_fast_as_the_branch_that_decided_it(tmp_path: Path) -> None:
    plan = {f"s{index}": {"ms": ms} for index, ms in enumerate([100, 20, 3000, 5, 126])}
    with node_runs(tmp_path, nested(tmp_path, plan, inner={"policy": "first"}), clock=CLOCK) as run:
        whole(run)
        order = run.contexts("outer")["0/b"]["arrival_order"]
        assert [(one["branch"], one["arrival_offset_ms"]) for one in order] == [("a", 0), ("b", 1)]


def test_what_an_inner_join_lost_is_found_by_the_outer_one(tmp_path: Path) -> None:
    plans = ({"s1": {"fail": True}}, {"s0": {"fail": True}}, {"s3": {"fail": True}})
    with node_runs(tmp_path, nested(tmp_path, *plans), clock=CLOCK) as run:
        whole(run)
        lost = {token: said["branches_lost"] for token, said in run.contexts("outer").items()}
        assert lost == {
            "0/b": {"a": {"why": "failed", "node": "inner", "code": "branch_lost"}},
            "1/b": {"a": {"why": "failed", "node": "s0", "code": "step_raised"}},
            "2/b": {"a": {"why": "failed", "node": "s3", "code": "step_raised"}},
        }


def test_joins_follow_each_other(tmp_path: Path) -> None:
    rows = [{"id": index, "plan": {"s0": {"set": {"x": index}}}} for index in range(3)]
    declaration = {
        "name": "sequential",
        "source": source_of(tmp_path, rows, PLANS),
        "steps": {
            "f1": fork("a", "b", of="source"),
            "s0": step(0, "f1.a"),
            "one": coalesce({"a": "s0", "b": "f1.b"}),
            "f2": fork("a", "b", of="one"),
            "s1": step(1, "f2.b"),
            "two": coalesce({"a": "f2.a", "b": "s1"}, on_collision="fail"),
        },
        "sinks": {"out": sink("two", name="out")},
    }
    with node_runs(tmp_path, declaration, clock=CLOCK) as run:
        whole(run)
        assert [row["x"] for row in run.rows("out")] == [0, 1, 2]
        assert run.outcomes()["2/join:one/join:two"] == ("completed", "out", None)


def gated(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A branch with a gate: two of its routes rejoin, one leads to a sink of its own."""
    return {
        "name": "gated",
        "source": source_of(folder, rows, {"id": "int", "way": "str"}),
        "steps": {
            "f1": fork("a", "b", of="source"),
            "gate": {
                "kind": "gate",
                "from": "f1.a",
                "routes": {"left": "row.way == 'left'", "right": "row.way == 'right'"},
                "otherwise": "away",
            },
            "marked": {"kind": "map", "from": "gate.left", "set": {"mark": "1"}},
            "join": coalesce({"a": ["marked", "gate.right"], "b": "f1.b"}, policy="best_effort"),
        },
        "sinks": {"out": sink("join", name="out"), "aside": sink("gate.away", name="aside")},
    }


def test_routes_rejoin_at_the_join_and_other_routes_are_lost_to_it(tmp_path: Path) -> None:
    ways = ["left", "right", "away", "left"]
    rows = [{"id": index, "way": way} for index, way in enumerate(ways)]
    with node_runs(tmp_path, gated(tmp_path, rows)) as run:
        whole(run)
        assert run.rows("out") == [
            {"id": 0, "way": "left", "mark": 1},
            {"id": 1, "way": "right"},
            {"id": 2, "way": "away"},
            {"id": 3, "way": "left", "mark": 1},
        ]
        assert run.contexts("join")["2/b"]["branches_lost"] == {
            "a": {"why": "routed", "node": "gate", "port": "away", "to": "aside"}
        }
        assert [row["id"] for row in run.rows("aside")] == [2]


def test_what_is_said_of_a_lost_branch_does_not_depend_on_whether_its_sink_ran(tmp_path: Path) -> None:
    rows = [{"id": 0, "way": "away"}]
    said = []
    for name, order in (("before", ["aside", "join"]), ("after", ["join", "aside"])):
        (tmp_path / name).mkdir()
        with node_runs(tmp_path / name, gated(tmp_path / name, rows)) as run:
            run.run("source", "f1", "gate", "marked", *order, "out")
            said.append(run.contexts("join")["0/b"]["branches_lost"])
            assert run.findings() == []
    assert said[0] == said[1]


def test_the_rows_of_a_nested_join_come_out_in_the_sources_order(tmp_path: Path) -> None:
    plans = [{"s1": {"fail": index % 3 == 0}} for index in range(1200)]
    declaration = nested(tmp_path, *plans, inner={"policy": "best_effort"})
    with node_runs(tmp_path, declaration, clock=CLOCK) as run:
        whole(run)
        assert [row["id"] for row in run.rows("out")] == list(range(1200))
