"""`gate`: exactly one route for each row."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import Decision, Emitted, Home
from elspeth_dagster.nodes.gate import GateConfig


def _gate(routes: dict[str, str], otherwise: str = "rest") -> GateConfig:
    keys: dict[str, object] = {"kind": "gate", "from": "source", "routes": routes, "otherwise": otherwise}
    return GateConfig.model_validate(keys)


def _decided(home: Home, row: Row, routes: dict[str, str]) -> Decision:
    return _gate(routes).compile(home).decide(row)


def test_the_first_route_that_is_true_wins(home: Home) -> None:
    routes = {"big": "row.n > 10", "some": "row.n > 1"}

    assert _decided(home, {"n": 20}, routes) == Emitted({"n": 20}, "big", "row.n > 10")
    assert _decided(home, {"n": 5}, routes) == Emitted({"n": 5}, "some", "row.n > 1")
    assert _decided(home, {"n": 0}, routes) == Emitted({"n": 0}, "rest", None)


def test_a_later_route_is_not_evaluated(home: Home) -> None:
    assert isinstance(_decided(home, {"n": 1}, {"one": "row.n == 1", "bad": "row.n.x > 1"}), Emitted)


def test_a_type_error_is_the_rows_error_and_names_the_route(home: Home) -> None:
    decision = _decided(home, {"n": "text"}, {"big": "row.n > 10"})

    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.facts) == ("expression_failed", {"route": "big"})


def test_what_is_neither_true_nor_false_is_the_rows_error(home: Home) -> None:
    values: list[JSON] = [0, 1, "", "yes", None, []]
    for value in values:
        assert isinstance(_decided(home, {"n": value}, {"big": "row.n"}), Rejected)


def test_a_missing_field_is_the_rows_error(home: Home) -> None:
    assert isinstance(_decided(home, {}, {"big": "row.n > 1"}), Rejected)


def test_ports_are_the_routes_in_order_then_otherwise() -> None:
    assert _gate({"b": "true", "a": "true"}).ports() == ("b", "a", "rest")
    assert _gate({"b": "true"}, otherwise="b").ports() == ("b",)


_integers = st.integers(-(2**53) + 1, 2**53 - 1)


@given(_integers, st.lists(_integers, min_size=1, max_size=5))
def test_every_row_leaves_by_one_port_and_unchanged(number: int, limits: list[int]) -> None:
    gate = _gate({f"r{index}": f"row.n > {limit}" for index, limit in enumerate(limits)})
    expected = next((f"r{index}" for index, limit in enumerate(limits) if number > limit), "rest")

    decision = gate.compile(Home(base=Path(), root=Path())).decide({"n": number})

    assert isinstance(decision, Emitted)
    assert (decision.port, decision.row) == (expected, {"n": number})
