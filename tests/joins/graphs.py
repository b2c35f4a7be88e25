"""Random pipelines of forks, joins, gates, expands and steps, and rows that tell each step what to do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.joins.injected import STEPS_MAX, step

DEPTH_MAX = 5
BRANCHES_MAX = 4
TIMES_MS = (0, 0, 1, 1, 2.5, 40, 700)
ERROR_SINK = "errors"


@dataclass
class Graph:
    """A declaration without its source, the rows for it, and an order of the nodes in which each can run."""

    steps: dict[str, Any] = field(default_factory=dict)
    sinks: dict[str, list[str]] = field(default_factory=dict)
    ways: dict[str, list[str]] = field(default_factory=dict)  # of a gate, by the step that sets the row's way
    rows: list[dict[str, Any]] = field(default_factory=list)

    def declaration(self, source: dict[str, Any]) -> dict[str, Any]:
        sinks = {
            name: {"kind": "jsonl", "from": ports, "path": f"{name}.jsonl"}
            for name, ports in self.sinks.items()
        }
        if any(config.get("on_error") == ERROR_SINK for config in self.steps.values()):
            sinks[ERROR_SINK] = {"kind": "jsonl", "path": f"{ERROR_SINK}.jsonl"}
        return {"name": "graph", "source": source, "steps": self.steps, "sinks": sinks}


class Builder:
    """Grows a graph from its source; every part takes ports and gives those that its rows leave by."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.graph = Graph()
        self.left = STEPS_MAX - 10
        self.count = 0
        self.numbered = 0

    def build(self) -> Graph:
        ports = ["source"]
        if self.random.random() < 0.3:
            self.graph.steps["each"] = {
                "kind": "expand",
                "from": ports,
                "field": "items",
                "max_error_rate": 1.0,
            }
            ports = ["each"]
        depth = self.random.randint(1, DEPTH_MAX)
        ports = self._fork(ports, depth) if self.random.random() < 0.8 else ports
        ports = self._sequence(ports, depth)
        self.graph.sinks["out"] = ports
        self.graph.rows = [self._row(index) for index in range(self.random.randint(1, 6))]
        return self.graph

    def _sequence(self, ports: list[str], depth: int) -> list[str]:
        for _ in range(self.random.randint(0, 2)):
            if self.left <= 0:
                break
            kinds: list[Callable[[list[str], int], list[str]]] = [self._step]
            if depth:
                kinds += [self._step, self._gate, self._fork]
            ports = self.random.choice(kinds)(ports, depth - 1)
        return ports

    def _name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def _step(self, ports: list[str], _depth: int = 0) -> list[str]:
        number, self.numbered = self.numbered, self.numbered + 1
        self.left -= 1
        self.graph.steps[f"s{number}"] = step(number, *ports, **self._common())
        return [f"s{number}"]

    def _common(self) -> dict[str, Any]:
        taker = self.random.choice([None, None, None, ERROR_SINK, "discard"])
        return {"max_error_rate": 1.0, **({} if taker is None else {"on_error": taker})}

    def _gate(self, ports: list[str], depth: int) -> list[str]:
        (decider,) = self._step(ports)
        name, ways = self._name("g"), [f"r{index}" for index in range(self.random.randint(2, 3))]
        self.graph.ways[decider] = ways
        routes = {way: f"row.way == '{way}'" for way in ways[:-1]}
        self.graph.steps[name] = {"kind": "gate", "from": [decider], "routes": routes, "otherwise": ways[-1]}
        kept = self.random.choice(ways)
        ends: list[str] = []
        for way in ways:
            if way != kept and self.random.random() < 0.4:
                self._away([f"{name}.{way}"])
            else:
                ends += self._sequence([f"{name}.{way}"], depth)
        return ends

    def _away(self, ports: list[str]) -> None:
        """Out of the way of any join; at times through a step of its own."""
        if self.random.random() < 0.3 and self.left > 0:
            ports = self._step(ports)
        self.graph.sinks.setdefault("aside", []).extend(ports)

    def _fork(self, ports: list[str], depth: int) -> list[str]:
        fork = self._name("f")
        branches = [f"b{index}" for index in range(self.random.randint(2, BRANCHES_MAX))]
        self.graph.steps[fork] = {"kind": "fork", "from": ports, "branches": branches}
        joined = list(branches)
        if len(branches) > 2 and self.random.random() < 0.2:
            joined.remove(out := self.random.choice(branches))
            self._away([f"{fork}.{out}"])
        self.random.shuffle(joined)
        ends = {branch: self._sequence([f"{fork}.{branch}"], depth) for branch in joined}
        join = f"j{fork[1:]}"
        self.graph.steps[join] = {"kind": "coalesce", "from": ends, **self._common(), **self._policy(joined)}
        return [join]

    def _policy(self, branches: list[str]) -> dict[str, Any]:
        random = self.random
        policy = random.choice(["require_all", "quorum", "best_effort", "first"])
        merge = random.choice(["union", "union", "nested", "select"])
        made: dict[str, Any] = {"policy": policy, "merge": merge}
        if policy == "quorum":
            made["quorum_count"] = random.randint(1, len(branches))
        if merge == "select":
            made["select_branch"] = random.choice(branches)
        if merge == "union":
            made["on_collision"] = random.choice(["last_wins", "first_wins", "fail"])
        if random.random() < 0.3:
            made["timeout_seconds"] = random.choice([0.001, 0.0025, 0.5])
        return made

    def _row(self, index: int) -> dict[str, Any]:
        random = self.random
        fails = random.choice([0, 0.05, 0.3])
        plan: dict[str, Any] = {}
        for name, config in self.graph.steps.items():
            if config["kind"] != "python":
                continue
            plan[name] = {"ms": random.choice(TIMES_MS)}
            if random.random() < fails:
                plan[name]["fail"] = True
            if random.random() < 0.3:
                plan[name]["set"] = {random.choice("xyz"): random.randint(0, 2)}
            if random.random() < 0.1:
                plan[name]["drop"] = [random.choice("xyz")]
            if name in self.graph.ways:
                plan[name].setdefault("set", {})["way"] = random.choice(self.graph.ways[name])
        items = random.choice([[], [1], [1, "two"], [1, 2, 3], "no list"])
        return {"id": index, "x": 0, "items": items, "plan": plan}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph; found again, and made smaller, by its random choices."""
    return Builder(draw(st.randoms(use_true_random=False))).build()


class TimelessBuilder(Builder):
    """Small graphs whose decisions do not depend on how long anything took."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.left = 8

    def _policy(self, branches: list[str]) -> dict[str, Any]:
        made = super()._policy(branches)
        made.pop("timeout_seconds", None)
        made.pop("quorum_count", None)
        return {**made, "policy": self.random.choice(["require_all", "best_effort"])}
