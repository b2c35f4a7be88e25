"""What must become of every token, worked out from the declaration alone: no Dagster, no database, no engine code.

It moves all tokens through the nodes in order, keeps each token's own time since every fork that it is in, and writes
down what semantics promises: outcomes, what joins decided and why, parents, and what the sinks get, in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.joins.injected import played

Row = dict[str, Any]
LATE = "late_arrival_after_merge"


@dataclass(eq=False)
class Tok:
    """A token: its path through forks (fork, parent, branch) and its milliseconds since each of them."""

    name: str
    row: Row
    key: tuple[int, ...]
    forks: tuple[tuple[str, Tok, str], ...] = ()
    took: tuple[float, ...] = ()
    trail: list[tuple[str, str | None, str | None]] = field(default_factory=list)  # node, port, error code
    children: dict[str, Tok] = field(default_factory=dict)

    def left(self, node: str, port: str | None, code: str | None = None) -> None:
        self.trail.append((node, port, code))


@dataclass
class Oracle:
    """Everything that a run must leave behind. ``decisions`` are by join and forked token."""

    declaration: Mapping[str, Any]
    outcomes: dict[str, tuple[str, str | None, str | None]] = field(default_factory=dict)
    decisions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    sinks: dict[str, list[Row]] = field(default_factory=dict)
    merged: dict[tuple[str, str], Tok] = field(default_factory=dict)
    _ports: dict[str, list[Tok]] = field(default_factory=dict)
    _forked: dict[str, list[Tok]] = field(default_factory=dict)

    def run(self, rows: list[Row], order: list[str]) -> Oracle:
        steps, sinks = self.declaration["steps"], self.declaration["sinks"]
        self._ports["source"] = [Tok(str(index), row, (index,)) for index, row in enumerate(rows)]
        for node in order:
            if node in steps:
                getattr(self, f"_{steps[node]['kind']}")(node, steps[node])
        for name, sink in sinks.items():
            self._sink(name, [port for _, port in _froms(sink.get("from", []))])
        return self

    def _waiting(self, config: Mapping[str, Any]) -> list[Tok]:
        found = [tok for _, port in _froms(config["from"]) for tok in self._ports.get(port, [])]
        return sorted(found, key=lambda tok: tok.key)

    def _emit(self, tok: Tok, node: str, port: str | None = None) -> None:
        tok.left(node, port or "out")
        self._ports.setdefault(f"{node}.{port}" if port else node, []).append(tok)

    def _fail(self, tok: Tok, node: str, code: str) -> None:
        taker = self.declaration["steps"][node].get("on_error")
        tok.left(node, None, code)
        if taker in {None, "discard"}:
            self.outcomes[tok.name] = ("discarded" if taker else "failed", None, code)
        else:
            self.outcomes[tok.name] = ("routed", taker, code)

    # Nodes -----------------------------------------------------------------------------------------------------------

    def _python(self, node: str, config: Mapping[str, Any]) -> None:
        for tok in self._waiting(config):
            ms, made = played(node, tok.row)
            if made is None:
                self._fail(tok, node, "step_raised")
                continue
            tok.row, tok.took = made, tuple(total + ms for total in tok.took)
            self._emit(tok, node)

    def _gate(self, node: str, config: Mapping[str, Any]) -> None:
        for tok in self._waiting(config):
            routes = {port: re.findall("'(.*)'", said)[0] for port, said in config["routes"].items()}
            chosen = [port for port, way in routes.items() if tok.row["way"] == way]
            self._emit(tok, node, chosen[0] if chosen else config["otherwise"])

    def _expand(self, node: str, config: Mapping[str, Any]) -> None:
        for tok in self._waiting(config):
            items = tok.row[config["field"]]
            if not isinstance(items, list):
                self._fail(tok, node, "not_a_list")
                continue
            self.outcomes[tok.name] = ("expanded", None, None)
            for index, item in enumerate(items):
                row = {**tok.row, config["field"]: item, "item_index": index}
                child = Tok(f"{tok.name}/{index}", row, (*tok.key, index), tok.forks, tok.took)
                self.parents[child.name] = [tok.name]
                self._emit(child, node)

    def _fork(self, node: str, config: Mapping[str, Any]) -> None:
        for tok in self._waiting(config):
            tok.left(node, None)
            self.outcomes[tok.name] = ("forked", None, None)
            self._forked.setdefault(node, []).append(tok)
            for index, branch in enumerate(config["branches"]):
                forks, took = (*tok.forks, (node, tok, branch)), (*tok.took, 0.0)
                child = Tok(f"{tok.name}/{branch}", dict(tok.row), (*tok.key, index), forks, took)
                tok.children[branch] = child
                self.parents[child.name] = [tok.name]
                self._emit(child, node, branch)

    def _coalesce(self, node: str, config: Mapping[str, Any]) -> None:
        here: dict[str, dict[str, Tok]] = {}
        for tok in self._waiting(config):
            _, parent, branch = tok.forks[-1]
            here.setdefault(parent.name, {})[branch] = tok
        for parent in sorted(self._forked.get(_fork_of(self.declaration, node), []), key=lambda one: one.key):
            self._decide(node, config, parent, here.get(parent.name, {}))

    def _decide(self, node: str, config: Mapping[str, Any], parent: Tok, here: dict[str, Tok]) -> None:
        branches = list(config["from"])
        lost: dict[str, Any] = {
            branch: self._fate(parent.children[branch], node) for branch in branches if branch not in here
        }
        arrived = sorted(here, key=lambda branch: (here[branch].took[-1], branches.index(branch)))
        first = here[arrived[0]].took[-1] if arrived else 0.0
        offset = {branch: round(here[branch].took[-1] - first, 3) for branch in arrived}
        limit_ms = config.get("timeout_seconds", float("inf")) * 1000
        policy = config.get("policy", "require_all")
        most = {"first": 1, "quorum": config.get("quorum_count")}.get(policy) or len(branches)
        least = {"best_effort": 1, "first": 1}.get(policy, most)
        held = [branch for branch in arrived if offset[branch] <= limit_ms][:most]
        late = [branch for branch in arrived if branch not in held]
        for branch in late:
            said = {"why": "late", "token_id": here[branch].name, "arrival_offset_ms": offset[branch]}
            lost[branch] = said
        reason = None
        if len(held) < least:
            reason = {"require_all": "branch_lost", "quorum": "quorum_not_met"}.get(
                policy, "all_branches_lost"
            )
        row = (
            None
            if reason
            else self._merge(config, parent.row, {b: here[b].row for b in branches if b in held})
        )
        if isinstance(row, str):
            reason, row = row, None
        self.decisions[node, parent.name] = {
            "arrived": [(branch, here[branch].name, offset[branch]) for branch in held],
            "lost": lost,
            "reason": reason,
            "wait": offset[held[-1]] if held else None,
        }
        for branch in held:
            if reason:
                self._fail(here[branch], node, reason)
            else:
                self.outcomes[here[branch].name] = ("coalesced", None, None)
        for branch in late:
            self.outcomes[here[branch].name] = ("failed", None, LATE)
        if row is not None:
            took = tuple(total + here[held[-1]].took[-1] for total in parent.took)
            key = (*parent.key, 1000)
            made = Tok(f"{parent.name}/join:{node}", row, key, parent.forks, took)
            self.parents[made.name] = [here[branch].name for branch in held]
            self.merged[node, parent.name] = made
            self._emit(made, node)

    def _merge(self, config: Mapping[str, Any], before: Row, rows: dict[str, Row]) -> Row | str:
        how, select = config.get("merge", "union"), config.get("select_branch")
        if how == "select":
            return rows.get(select, "select_branch_not_arrived")  # type: ignore[arg-type]
        if how == "nested":
            return dict(rows)
        made: Row = {}
        for name in [name for row in rows.values() for name in row]:
            by = [
                b
                for b, row in rows.items()
                if name in row and (name not in before or row[name] != before[name])
            ]
            rule = config.get("on_collision") or "last_wins"
            if len(by) > 1 and rule == "fail":
                return "union_collision"
            made[name] = rows[by[0 if rule == "first_wins" else -1]][name] if by else before[name]
        return made

    def _fate(self, tok: Tok, join: str) -> dict[str, Any]:
        """Why ``tok`` does not come to ``join``: what it did last at a node from where it could have."""
        on_way = [step for step in tok.trail if join in _reached(self.declaration, step[0])]
        node, port, code = on_way[-1] if on_way else tok.trail[-1]
        if code is not None:
            return {"why": "failed", "node": node, "code": code}
        if port is not None:
            place = node if port == "out" else f"{node}.{port}"
            return {"why": "routed", "node": node, "port": port, "to": _taker(self.declaration, place)}
        inner = next(
            name
            for name, config in self.declaration["steps"].items()
            if config["kind"] == "coalesce" and _fork_of(self.declaration, name) == node
        )
        if (inner, tok.name) in self.merged:
            return self._fate(self.merged[inner, tok.name], join)
        return {"why": "failed", "node": inner, "code": self.decisions[inner, tok.name]["reason"]}

    def _sink(self, name: str, ports: list[str]) -> None:
        found = [tok for port in ports for tok in self._ports.get(port, [])]
        for tok in found:
            is_gated = any(tok in self._ports.get(port, []) for port in ports if self._is_gate(port))
            self.outcomes[tok.name] = ("routed" if is_gated else "completed", name, None)
        self.sinks[name] = [tok.row for tok in sorted(found, key=lambda tok: tok.key)]

    def _is_gate(self, port: str) -> bool:
        step = self.declaration["steps"].get(port.partition(".")[0], {})
        return bool(step.get("kind") == "gate")


def _froms(written: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(written, str):
        yield None, written
    elif isinstance(written, dict):
        for branch, ports in written.items():
            yield from ((branch, port) for _, port in _froms(ports))
    else:
        yield from ((None, port) for port in written)


def _takers(declaration: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section in ("steps", "sinks"):
        for name, config in declaration[section].items():
            yield from ((port, name) for _, port in _froms(config.get("from", [])))


def _taker(declaration: Mapping[str, Any], port: str) -> str:
    return next(name for place, name in _takers(declaration) if place == port)


def _reached(declaration: Mapping[str, Any], node: str) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        place = todo.pop()
        new = {name for port, name in _takers(declaration) if port.partition(".")[0] == place} - found
        found |= new
        todo += new
    return found


def _fork_of(declaration: Mapping[str, Any], join: str) -> str:
    """The generator calls the join of fork `f3` `j3`."""
    return f"f{join[1:]}"
